// SPDX-License-Identifier: Apache-2.0
//
// Damaged, truncated and malicious files: an error that names a place, never a crash, never a large
// allocation, never silently different content. Worth running under ASan and UBSan.
#include "helpers.hpp"
#include "trace/summary.hpp"
#include "trace/text.hpp"
#include "trace/validate.hpp"

#include <algorithm>
#include <sstream>

namespace tidepool::bench::trace::test {
namespace {

/// A trace of hand-made chunks, with correct checksums whatever the other fields say.
class forger {
 public:
  explicit forger(file_header header = {}, const std::string& metadata = "{}") {
    const auto text = std::as_bytes(std::span(metadata));
    if (header.metadata_bytes == 0) {
      header.metadata_bytes = static_cast<std::uint32_t>(text.size());
    }
    header.metadata_crc = crc32(text);
    add(encode(header));
    add(text);
  }

  void add(std::span<const std::byte> more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

  /// A chunk of events, stored as they are. `change` may spoil the header.
  template <class Change>
  void add_events(const std::vector<event>& records, std::span<const std::byte> extras,
                  Change change) {
    byte_vector raw(records.size() * event_bytes);
    std::memcpy(raw.data(), records.data(), raw.size());
    raw.insert(raw.end(), extras.begin(), extras.end());
    chunk_header header;
    header.event_count = static_cast<std::uint32_t>(records.size());
    header.first_event = event_count;
    header.stored_bytes = header.raw_bytes = static_cast<std::uint32_t>(raw.size());
    header.stored_crc = crc32(raw);
    change(header);
    event_count += records.size();
    add(encode(header));
    add(raw);
  }
  void add_events(const std::vector<event>& records, std::span<const std::byte> extras = {}) {
    add_events(records, extras, [](chunk_header&) {});
  }

  void add_footer() {
    const totals sums{.events = event_count};
    const auto raw = std::as_bytes(std::span(&sums, 1));
    chunk_header header{.tag = footer_tag, .first_event = event_count};
    header.stored_bytes = header.raw_bytes = static_cast<std::uint32_t>(raw.size());
    header.stored_crc = crc32(raw);
    add(encode(header));
    add(raw);
  }

  byte_vector bytes;
  std::uint64_t event_count = 0;
};

errc code_of(const byte_vector& bytes) {
  const content found = read_all(bytes);
  EXPECT_TRUE(found.failure) << "no error was reported";
  if (!found.failure) {
    return errc::io;
  }
  EXPECT_FALSE(found.failure->reason.empty());
  EXPECT_NE(found.failure->offset, no_position) << found.failure->message();
  return found.failure->code;
}

/// The answers of everything that reads a trace.
struct answers {
  validation checked;
  result<summary> summed;
  status dumped;
  std::string text;
};

/// Nothing if the header cannot be read.
std::optional<answers> answers_about(const byte_vector& bytes) {
  auto for_validate = reader::from_memory(bytes);
  auto for_summarize = reader::from_memory(bytes);
  auto for_dump = reader::from_memory(bytes);
  EXPECT_EQ(for_validate.has_value(), for_summarize.has_value());
  EXPECT_EQ(for_validate.has_value(), for_dump.has_value());
  if (!for_validate || !for_summarize || !for_dump) {
    return std::nullopt;
  }
  std::ostringstream text;
  validation checked = validate(*for_validate);
  result<summary> summed = summarize(*for_summarize);
  status dumped = dump(*for_dump, text);
  return answers{std::move(checked), std::move(summed), std::move(dumped), text.str()};
}

void expect_same(const error& found, const error& expected) {
  EXPECT_EQ(found.code, expected.code);
  EXPECT_EQ(found.offset, expected.offset);
  EXPECT_EQ(found.event, expected.event);
  EXPECT_EQ(found.reason, expected.reason);
}

/// Reads bytes that may be anything in every way, and compares the answers. Damage of the file is
/// the same error in all of them. An event that makes no sense is one for validate() at least;
/// summarize() refuses some of them, dump() writes them all. Says whether the file was damaged.
bool is_damaged_in_every_way(const byte_vector& bytes) {
  const content read = read_all(bytes);
  const std::optional<answers> found = answers_about(bytes);
  if (!found) {
    EXPECT_TRUE(read.failure);
    return true;
  }
  const auto& [checked, summed, dumped, text] = *found;
  EXPECT_EQ(read.failure.has_value(), !dumped.ok());
  EXPECT_TRUE(summed || !checked.is_valid());
  if (read.failure) {
    EXPECT_FALSE(summed);
    EXPECT_FALSE(checked.is_valid());
    if (!dumped.ok()) {
      expect_same(dumped.error(), *read.failure);
    }
    if (checked.error_count == 1 && !summed) {  // no wrong event before the damage
      expect_same(summed.error(), *read.failure);
    }
    if (!checked.is_valid() && checked.findings.size() < validate_options{}.max_findings) {
      EXPECT_NE(checked.findings.back().reason.find(read.failure->reason), std::string::npos);
    }
    return true;
  }
  const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  EXPECT_EQ(lines, read.events.size() + 2);  // one for the header and one for the end
  if (summed) {
    EXPECT_EQ(summed->sums.events, checked.sums.events);
    EXPECT_EQ(summed->sums.allocs, checked.sums.allocs);
    EXPECT_EQ(summed->sums.frees, checked.sums.frees);
    EXPECT_EQ(summed->sums.peak_live_bytes, checked.sums.peak_live_bytes);
  }
  return false;
}

TEST(HostileTrace, ForgerMakesGoodTracesToo) {
  forger made;
  made.add_events({{.kind = event_kind::mark_begin}});
  made.add_footer();
  const content found = read_all(made.bytes);
  EXPECT_FALSE(found.failure) << found.failure->message();
  EXPECT_EQ(found.events.size(), 1u);
  EXPECT_FALSE(is_damaged_in_every_way(made.bytes));
}

TEST(HostileTrace, EveryTruncationIsNoticed) {
  const byte_vector whole = make_small();
  const content reference = read_all(whole);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const byte_vector cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    const content found = read_all(cut);
    ASSERT_TRUE(found.failure) << "cut to " << length;
    EXPECT_EQ(found.failure->code, length == 0 ? errc::not_a_trace : errc::truncated)
        << "cut to " << length << ": " << found.failure->message();
    EXPECT_LE(found.failure->offset, length);
    ASSERT_LE(found.events.size(), reference.events.size());
    EXPECT_TRUE(std::equal(found.events.begin(), found.events.end(), reference.events.begin()));
  }
}

TEST(HostileTrace, EveryFlippedBitIsNoticed) {
  const byte_vector whole = make_small();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      byte_vector flipped = whole;
      flipped[at] ^= static_cast<std::byte>(1u << bit);
      ASSERT_TRUE(read_all(flipped).failure) << "byte " << at << " bit " << bit;
    }
    byte_vector replaced = whole;
    replaced[at] = ~replaced[at];
    EXPECT_TRUE(is_damaged_in_every_way(replaced)) << "byte " << at;
  }
}

TEST(HostileTrace, RandomRecordsUnderRightChecksumsAreReadAlikeInEveryWay) {
  int damaged = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    forger made;
    // Where kinds have extras, random bytes hardly ever fit; without them, the form is right and
    // only the sense of the events is random.
    const bool has_extras = seed % 2 == 0;
    std::vector<event> records(1 + random() % 40);
    for (event& each : records) {
      constexpr std::uint8_t kinds[] = {1,    1,    2,    3,    4,    5,    6,    7,   8,
                                        0x40, 0x41, 0x42, 0x43, 0x44, 0xC0, 0xFF, 0x80};
      each = {.time = random() % 50,
              .id = random() % 6,
              .bytes = random() % 20,
              .generation = static_cast<std::uint32_t>(random() % 2),
              .name = static_cast<std::uint32_t>(random() % 4),
              .flags = static_cast<std::uint16_t>(random()),
              .kind =
                  static_cast<event_kind>(kinds[random() % (has_extras ? std::size(kinds) : 9)]),
              .category = static_cast<std::uint8_t>(random() % 3),
              .device = static_cast<std::uint8_t>(random() % 3),
              .alignment_log2 = static_cast<std::uint8_t>(random()),
              .detail = static_cast<std::uint8_t>(random() % 5)};
      if (random() % 8 == 0) {
        each.bytes = random();
      }
    }
    byte_vector extras(has_extras ? random() % 400 : 0);
    for (std::byte& each : extras) {
      each = static_cast<std::byte>(random());
    }
    made.add_events(records, extras);
    made.add_footer();
    const bool is_damaged = is_damaged_in_every_way(made.bytes);
    EXPECT_TRUE(has_extras || !is_damaged);
    damaged += is_damaged ? 1 : 0;
  }
  EXPECT_GT(damaged, 0);
}

TEST(HostileTrace, HugeSizesAreRefusedBeforeMemoryIsTaken) {
  const std::vector<event> one{{.kind = event_kind::mark_begin}};
  forger huge_stored;
  huge_stored.add_events(one, {}, [](chunk_header& h) { h.stored_bytes = 0xFFFFFFFFu; });
  EXPECT_EQ(code_of(huge_stored.bytes), errc::over_limit);
  forger huge_raw;
  huge_raw.add_events(one, {}, [](chunk_header& h) { h.raw_bytes = 0xFFFFFFFFu; });
  EXPECT_EQ(code_of(huge_raw.bytes), errc::over_limit);
  forger many;
  many.add_events(one, {}, [](chunk_header& h) { h.event_count = 0xFFFFFFFFu; });
  EXPECT_EQ(code_of(many.bytes), errc::damaged);
  forger none;
  none.add_events(one, {}, [](chunk_header& h) { h.event_count = 0; });
  EXPECT_EQ(code_of(none.bytes), errc::damaged);
  EXPECT_EQ(code_of(forger({.metadata_bytes = 0xFFFFFFFFu}).bytes), errc::over_limit);
  EXPECT_EQ(code_of(forger({.header_bytes = 0xFFFF}).bytes), errc::over_limit);
  forger extra;
  extra.add_events({{.bytes = ~std::uint64_t{0}, .kind = event_kind::comment}});
  EXPECT_EQ(code_of(extra.bytes), errc::damaged);
}

TEST(HostileTrace, FramesThatLieAboutTheirSizeAreRefused) {
  const std::vector<event> one{{.kind = event_kind::mark_begin}};
  forger not_zstd;
  not_zstd.add_events(one, {}, [](chunk_header& h) { h.codec = codec_kind::zstd; });
  EXPECT_EQ(code_of(not_zstd.bytes), errc::damaged);
  forger two_sizes;
  two_sizes.add_events(one, {}, [](chunk_header& h) { h.raw_bytes = 96; });
  EXPECT_EQ(code_of(two_sizes.bytes), errc::damaged);
  // A real frame whose header claims another size than it unpacks to.
  byte_vector bytes = make_small(1000);
  const std::size_t at = file_header_bytes + 16;  // after the metadata
  const auto raw = std::span(bytes).subspan(at).first<chunk_header_bytes>();
  chunk_header header = decode_chunk_header(raw);
  for (const std::uint32_t size : {header.raw_bytes - 1, header.raw_bytes + 1}) {
    header.raw_bytes = size;
    const auto forged = encode(header);
    std::copy(forged.begin(), forged.end(), raw.begin());
    EXPECT_EQ(code_of(bytes), errc::damaged);
  }
}

TEST(HostileTrace, MissingReorderedAndTrailingChunksAreNoticed) {
  const std::vector<event> one{{.kind = event_kind::mark_begin}};
  forger gap;
  gap.add_events(one, {}, [](chunk_header& h) { h.first_event = 7; });
  EXPECT_EQ(code_of(gap.bytes), errc::damaged);
  forger trailing;
  trailing.add_footer();
  trailing.add(std::as_bytes(std::span("x")));
  EXPECT_EQ(code_of(trailing.bytes), errc::damaged);
  forger leftover;
  leftover.add_events(one, std::as_bytes(std::span("extra of nobody")));
  leftover.add_footer();
  EXPECT_EQ(code_of(leftover.bytes), errc::damaged);
}

TEST(HostileTrace, OtherVersionsAndFilesAreNamed) {
  byte_vector later = make_small();
  later[magic_bytes - 1] = std::byte{'2'};
  EXPECT_EQ(code_of(later), errc::wrong_version);
  EXPECT_NE(read_all(later).failure->reason.find("version '2'"), std::string::npos);
  const std::string other = "PK\x03\x04 and so on, long enough to be a header of a trace, or more";
  const auto text = std::as_bytes(std::span(other));
  EXPECT_EQ(code_of({text.begin(), text.end()}), errc::not_a_trace);
}

TEST(HostileTrace, RequiredThingsOfTheFutureAreRefusedAndOptionalOnesSkipped) {
  const std::vector<event> one{{.kind = event_kind::mark_begin}};
  forger kind;
  kind.add_events({{.kind = event_kind::mark_begin}, {.kind = static_cast<event_kind>(0x3E)}});
  EXPECT_EQ(code_of(kind.bytes), errc::unsupported);
  EXPECT_EQ(read_all(kind.bytes).failure->event, 1u);
  EXPECT_NE(read_all(kind.bytes).failure->reason.find("0x3e"), std::string::npos);
  EXPECT_EQ(code_of(forger({.required_features = 1}).bytes), errc::unsupported);
  EXPECT_EQ(code_of(forger({.record_bytes = 64}).bytes), errc::unsupported);
  forger chunk;
  chunk.add_events(one, {}, [](chunk_header& h) { h.tag = {'N', 'E', 'W', 'S'}; });
  EXPECT_EQ(code_of(chunk.bytes), errc::unsupported);
  forger codec;
  codec.add_events(one, {}, [](chunk_header& h) { h.codec = static_cast<codec_kind>(9); });
  EXPECT_EQ(code_of(codec.bytes), errc::unsupported);

  forger skipped({.minor_version = 9, .optional_features = 0xFF});
  skipped.add_events(one, {}, [](chunk_header& h) { h.tag = {'n', 'e', 'w', 's'}; });
  skipped.event_count = 0;
  skipped.add_events(one);
  skipped.add_footer();
  const content found = read_all(skipped.bytes);
  EXPECT_FALSE(found.failure) << found.failure->message();
  EXPECT_EQ(found.events.size(), 1u);
}

TEST(HostileTrace, DefinitionsOutOfOrderAreRefused) {
  const auto text = std::as_bytes(std::span("name", 4));
  forger order;
  order.add_events({{.id = 2, .bytes = 4, .kind = event_kind::define_name}}, text);
  EXPECT_EQ(code_of(order.bytes), errc::invalid);
  forger zero;
  zero.add_events({{.bytes = 4, .kind = event_kind::define_category}}, text);
  EXPECT_EQ(code_of(zero.bytes), errc::invalid);
  forger twice;
  twice.add_events({{.bytes = 2, .kind = event_kind::define_device},
                    {.bytes = 2, .kind = event_kind::define_device}},
                   text);
  EXPECT_EQ(code_of(twice.bytes), errc::invalid);
  const byte_vector much(limits::text_bytes + 1, std::byte{'x'});
  forger large;
  large.add_events({{.id = 1, .bytes = much.size(), .kind = event_kind::define_name}}, much);
  EXPECT_EQ(code_of(large.bytes), errc::over_limit);
  forger list;
  list.add_events({{.bytes = 4, .kind = event_kind::touch_tensors}}, text);
  EXPECT_EQ(code_of(list.bytes), errc::invalid);
}

}  // namespace
}  // namespace tidepool::bench::trace::test
