// SPDX-License-Identifier: Apache-2.0
//
// The binary form: what is written is read back, in any chunking, and newer traces are met well.
#include "helpers.hpp"
#include "trace/summary.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace tidepool::bench::trace::test {
namespace {

TEST(TraceFormat, ChecksumIsTheOneOfZlib) {
  const std::string text = "123456789";
  EXPECT_EQ(crc32(std::as_bytes(std::span(text))), 0xCBF43926u);
  EXPECT_EQ(crc32({}), 0u);
}

TEST(TraceFormat, FilterIsUndoneExactly) {
  std::mt19937_64 random(5);
  for (const std::size_t count : {0u, 1u, 2u, 7u, 64u}) {
    std::vector<event> records(count);
    for (event& each : records) {
      each = {.time = random(),
              .id = random(),
              .bytes = random(),
              .generation = static_cast<std::uint32_t>(random()),
              .kind = static_cast<event_kind>(random() & 0xFF)};
    }
    byte_vector planes(count * event_bytes);
    filter_records(records, planes);
    std::vector<event> back(count);
    unfilter_records(planes, back);
    EXPECT_EQ(back, records) << count << " records";
  }
}

TEST(TraceFormat, EveryKindOfEventSurvivesInAnyChunking) {
  const content reference = read_all(make_small(1000));
  ASSERT_FALSE(reference.failure) << reference.failure->message();
  EXPECT_EQ(reference.metadata, R"({"model":"tiny"})");
  ASSERT_EQ(reference.events.size(), 17u);
  EXPECT_EQ(reference.events[8].extra.size(), 16u);
  ASSERT_TRUE(reference.footer);
  const totals expected{.events = 17,
                        .allocs = 2,
                        .frees = 1,
                        .touches = 4,
                        .failed_allocs = 1,
                        .allocated_bytes = 4196,
                        .peak_live_bytes = 4196,
                        .live_bytes = 4096,
                        .last_time = 10};
  EXPECT_EQ(*reference.footer, expected);
  for (const std::uint32_t chunk : {1u, 2u, 3u, 16u, 17u}) {
    for (const int level : {0, 1, 19}) {
      const content other = read_all(make_small(chunk, level));
      ASSERT_FALSE(other.failure) << other.failure->message();
      EXPECT_EQ(other.events, reference.events) << chunk << " events a chunk, level " << level;
      EXPECT_EQ(other.footer, reference.footer);
    }
  }
}

TEST(TraceFormat, RandomTracesSurvive) {
  const char* given = std::getenv("TIDEPOOL_TEST_SEED");
  const std::uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
  for (std::uint64_t seed = first; seed < first + 20; ++seed) {
    SCOPED_TRACE("TIDEPOOL_TEST_SEED=" + std::to_string(seed));
    std::vector<owned_event> written;
    const writer_options options{.chunk_events = static_cast<std::uint32_t>(1 + seed * 37 % 500),
                                 .compression_level = static_cast<int>(seed % 5)};
    const byte_vector bytes = make_random(seed, 300, options, &written);
    const content found = read_all(bytes);
    ASSERT_FALSE(found.failure) << found.failure->message();
    ASSERT_EQ(found.events, written);
    EXPECT_EQ(found.footer->allocs, 300u);
    EXPECT_EQ(found.footer->live_bytes, 0u);
  }
}

TEST(TraceFormat, SameEventsGiveTheSameBytes) {
  EXPECT_EQ(make_small(), make_small());
}

TEST(TraceFormat, FileAndMemoryAreTheSame) {
  const std::string path = testing::TempDir() + "/tidepool_trace_test.tpt";
  {
    writer out = must(writer::create(path));
    expect_ok(out.append({.time = 3, .kind = event_kind::mark_begin}));
    expect_ok(out.close());
    EXPECT_FALSE(out.append({.time = 4, .kind = event_kind::mark_end}).ok());
  }
  auto opened = reader::open(path);
  ASSERT_TRUE(opened) << opened.error().message();
  ASSERT_NE(opened->next(), nullptr);
  EXPECT_EQ(opened->next(), nullptr);
  EXPECT_FALSE(opened->failure());
  EXPECT_TRUE(opened->footer());
  std::filesystem::remove(path);
  const auto missing = reader::open(path);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, errc::io);
  EXPECT_EQ(writer::create("/nonexistent/x").error().code, errc::io);
}

TEST(TraceFormat, FullDiskIsAnError) {
  if (!std::filesystem::exists("/dev/full")) {
    GTEST_SKIP() << "no /dev/full";
  }
  writer out = must(writer::create("/dev/full"));
  (void)out.append({.kind = event_kind::mark_begin});
  const status closed = out.close();
  ASSERT_FALSE(closed.ok());
  EXPECT_EQ(closed.error().code, errc::io);
}

TEST(TraceFormat, LargeExtrasGoIntoChunksOfTheirOwn) {
  byte_vector bytes;
  writer out = must(writer::to_memory(bytes, {.compression_level = 0}));
  const std::vector<std::uint32_t> parts(limits::list_bytes / 4, 5);
  for (int i = 0; i < 3; ++i) {
    expect_ok(out.append_touch({.id = 1, .detail = 1}, parts));
  }
  expect_ok(out.close());
  const content found = read_all(bytes);
  ASSERT_FALSE(found.failure) << found.failure->message();
  ASSERT_EQ(found.events.size(), 3u);
  EXPECT_EQ(found.events[2].extra.size(), limits::list_bytes);
  const std::vector<std::uint32_t> more(parts.size() + 1);
  writer refused = must(writer::to_memory(bytes));
  EXPECT_EQ(refused.append_touch({.id = 1}, more).error().code, errc::over_limit);
}

TEST(TraceFormat, UnknownOptionalEventsAreSkippedAndCounted) {
  byte_vector bytes;
  writer out = must(writer::to_memory(bytes));
  const std::string payload = "from the future";
  expect_ok(out.append({.kind = event_kind::mark_begin}));
  expect_ok(out.append({.kind = static_cast<event_kind>(0x9A)}));
  expect_ok(out.append({.kind = static_cast<event_kind>(0xDA)}, std::as_bytes(std::span(payload))));
  expect_ok(out.append({.kind = event_kind::mark_end}));
  expect_ok(out.close());
  const content found = read_all(bytes);
  ASSERT_FALSE(found.failure) << found.failure->message();
  EXPECT_EQ(found.events.size(), 2u);
  EXPECT_EQ(found.skipped, 2u);
  EXPECT_EQ(found.footer->events, 4u);
}

TEST(TraceFormat, WriterRefusesWhatReadersWould) {
  const std::string text(limits::text_bytes + 1, 'x');
  const auto refused = [](auto use) {
    byte_vector bytes;
    writer out = must(writer::to_memory(bytes));
    return !use(out);
  };
  EXPECT_TRUE(refused([&](writer& out) { return out.name(text).has_value(); }));
  EXPECT_TRUE(refused([](writer& out) { return out.append({}).ok(); }));
  EXPECT_TRUE(refused(
      [](writer& out) { return out.append({.kind = static_cast<event_kind>(0x3F)}).ok(); }));
  EXPECT_TRUE(refused([](writer& out) {
    return out.append_touch({.id = 1}, std::span<const std::uint64_t>()).ok();
  }));
  EXPECT_TRUE(refused(
      [](writer& out) { return out.append({.id = 2, .kind = event_kind::define_name}, {}).ok(); }));
}

TEST(TraceFormat, FailureOfTheWriterStays) {
  byte_vector bytes;
  writer out = must(writer::to_memory(bytes));
  EXPECT_FALSE(out.append({}).ok());
  EXPECT_FALSE(out.append({.kind = event_kind::mark_begin}).ok());
  EXPECT_FALSE(out.close().ok());
}

TEST(TraceSummary, CountsSizesPeaksAndLifetimes) {
  byte_vector bytes;
  writer out = must(writer::to_memory(bytes));
  const std::uint8_t weight = must(out.category("weight"));
  ASSERT_TRUE(out.device("cpu"));  // events 0 and 1 are definitions
  const std::uint32_t phase = must(out.name("decode"));
  const auto add = [&](event record) { expect_ok(out.append(record)); };
  add({.id = 1, .bytes = 1000, .kind = event_kind::alloc, .category = weight});
  add({.name = phase, .kind = event_kind::mark_begin, .detail = 1});
  for (std::uint64_t id = 2; id < 12; ++id) {
    add({.id = id, .bytes = id < 11 ? 64u : 500u, .kind = event_kind::alloc});
    add({.id = id, .kind = event_kind::free});
  }
  add({.name = phase, .kind = event_kind::mark_end, .detail = 1});
  expect_ok(out.close());
  auto opened = reader::from_memory(bytes);
  const summary figures = must(summarize(*opened));
  EXPECT_EQ(figures.sums.peak_live_bytes, 1500u);
  EXPECT_EQ(figures.peak_event, 23u);
  EXPECT_EQ(figures.peak_tensors, 2u);
  EXPECT_EQ(figures.live_tensors, 1u);
  EXPECT_EQ(figures.distinct_sizes, 3u);
  EXPECT_EQ(figures.common_sizes.at(0).bytes, 64u);
  EXPECT_EQ(figures.common_sizes.at(0).count, 9u);
  ASSERT_EQ(figures.categories.size(), 2u);
  EXPECT_EQ(figures.categories[0].name, "unspecified");
  EXPECT_EQ(figures.categories[0].bytes_at_peak, 500u);
  EXPECT_EQ(figures.categories[1].bytes_at_peak, 1000u);
  EXPECT_EQ(figures.lifetimes.count, 10u);
  EXPECT_EQ(figures.lifetimes.max, 1u);
  ASSERT_EQ(figures.phases.size(), 1u);
  EXPECT_EQ(figures.phases[0].allocs, 10u);
  EXPECT_EQ(figures.phases[0].peak_live_bytes, 1500u);
  EXPECT_NE(to_text(figures).find("1500"), std::string::npos);
  EXPECT_NE(to_json(figures).find("\"peak_live_bytes\": 1500"), std::string::npos);
}

TEST(TraceSummary, RefusesATraceThatMakesNoSense) {
  byte_vector bytes;
  writer out = must(writer::to_memory(bytes));
  expect_ok(out.append({.id = 1, .kind = event_kind::free}));
  expect_ok(out.close());
  auto opened = reader::from_memory(bytes);
  const auto figures = summarize(*opened);
  ASSERT_FALSE(figures);
  EXPECT_EQ(figures.error().event, 0u);
}

}  // namespace
}  // namespace tidepool::bench::trace::test
