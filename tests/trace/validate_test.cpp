// SPDX-License-Identifier: Apache-2.0
//
// The validator: each rule is broken once, and the finding names the event and the reason.
#include "trace/validate.hpp"

#include "helpers.hpp"
#include "trace/text.hpp"

#include <sstream>

namespace tidepool::bench::trace::test {
namespace {

validation check(const byte_vector& bytes, const validate_options& options = {}) {
  auto opened = reader::from_memory(bytes);
  EXPECT_TRUE(opened) << opened.error().message();
  return validate(*opened, options);
}

struct rule {
  const char* name;
  const char* lines;     ///< of the text form, after a header, device "cpu" and live tensor 1
  const char* expected;  ///< part of the first finding
  std::uint64_t event;   ///< it names
};
// GoogleTest prints the bytes of what has no operator.
std::ostream& operator<<(std::ostream& out, const rule& what) {
  return out << what.name;
}

byte_vector pack_lines(const std::string& lines, const std::string& metadata = "{}") {
  std::istringstream text("{\"trace\":\"tidepool trace 1\",\"metadata\":" + metadata + "}\n" +
                          lines);
  byte_vector bytes;
  const auto packed =
      pack(text, [&](const writer_options& options) { return writer::to_memory(bytes, options); });
  EXPECT_TRUE(packed) << packed.error().message();
  return bytes;
}

const std::string prologue =
    "{\"op\":\"device\",\"index\":0,\"text\":\"cpu\"}\n"
    "{\"op\":\"alloc\",\"t\":5,\"id\":1,\"bytes\":64,\"device\":\"cpu\"}\n";

class ValidateRule : public testing::TestWithParam<rule> {};

TEST_P(ValidateRule, IsReportedWithEventAndReason) {
  const rule& broken = GetParam();
  const validation report = check(pack_lines(prologue + broken.lines));
  ASSERT_FALSE(report.findings.empty());
  const finding& first = report.findings.front();
  EXPECT_NE(first.reason.find(broken.expected), std::string::npos) << first.message();
  EXPECT_EQ(first.event, broken.event) << first.message();
  EXPECT_EQ(report.findings.size(), 1u) << report.findings.back().message();
}

const rule rules[] = {
    {"unknown_free", R"({"op":"free","t":6,"id":7})", "free of tensor 7, which was never", 2},
    {"double_free", R"({"op":"free","t":6,"id":1}
{"op":"free","t":6,"id":1})",
     "free already", 3},
    {"double_alloc", R"({"op":"alloc","t":6,"id":1,"bytes":64,"device":"cpu"})",
     "which lives since event 1", 2},
    {"dead_read", R"({"op":"free","t":6,"id":1}
{"op":"read","t":6,"id":1})",
     "after its free", 3},
    {"dead_read_in_list", R"({"op":"read","t":6,"ids":[1,3]})", "use of tensor 3, which was", 2},
    {"unknown_parts", R"({"op":"read","t":6,"id":4,"parts":[0]})", "use of tensor 4", 2},
    {"unknown_retag", R"({"op":"retag","t":6,"id":4})", "use of tensor 4", 2},
    {"generation_of_free", R"({"op":"free","t":6,"id":1,"gen":3})",
     "generation 0, the event says 3", 2},
    {"generation_of_reuse", R"({"op":"free","t":6,"id":1}
{"op":"alloc","t":6,"id":1,"device":"cpu"})",
     "again with generation 0", 3},
    {"size_of_free", R"({"op":"free","t":6,"id":1,"bytes":65})", "has 64 bytes", 2},
    {"size_of_touch", R"({"op":"write","t":6,"id":1,"bytes":65})", "has 64 bytes", 2},
    {"too_large", R"({"op":"alloc","t":6,"id":2,"bytes":281474976710657,"device":"cpu"})",
     "at most 281474976710656", 2},
    {"null_id", R"({"op":"alloc","t":6,"bytes":1,"device":"cpu"})", "id 0", 2},
    {"bad_alignment", R"({"op":"alloc","t":6,"id":2,"align_log2":33,"device":"cpu"})",
     "alignment of 2^33", 2},
    {"unknown_device", R"({"op":"alloc","t":6,"id":2,"device":9})", "device 9", 2},
    {"unknown_device_of_trim", R"({"op":"trim","t":6,"device":9})", "device 9", 2},
    {"unknown_category", R"({"op":"retag","t":6,"id":1,"category":9})", "category 9", 2},
    {"unknown_name", R"({"op":"alloc","t":6,"id":2,"device":"cpu","name":9})",
     "name 9 is not defined", 2},
    {"unknown_outcome", R"({"op":"alloc","t":6,"id":2,"device":"cpu","result":9})", "outcome 9", 2},
    {"unknown_access", R"({"op":"touch","t":6,"id":1,"detail":0})", "unknown access 0", 2},
    {"time_went_back", R"({"op":"read","t":4,"id":1})", "back from 5 to 4", 2},
};

INSTANTIATE_TEST_SUITE_P(Rules, ValidateRule, testing::ValuesIn(rules),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(Validate, AcceptsGoodTraces) {
  const validation small = check(make_small());
  EXPECT_TRUE(small.is_valid()) << small.findings.front().message();
  EXPECT_EQ(small.warning_count, 0u);
  for (std::uint64_t seed = 1; seed < 6; ++seed) {
    const validation random = check(make_random(seed, 200, {.chunk_events = 50}));
    EXPECT_TRUE(random.is_valid()) << "seed " << seed << random.findings.front().message();
    EXPECT_EQ(random.sums.allocs, 200u);
  }
}

TEST(Validate, AcceptsReuseOfAnIdWithAGreaterGeneration) {
  EXPECT_TRUE(check(pack_lines(prologue + R"({"op":"free","t":6,"id":1}
{"op":"alloc","t":6,"id":1,"gen":1,"device":"cpu"}
{"op":"free","t":7,"id":1,"gen":1})"))
                  .is_valid());
}

TEST(Validate, UnbalancedMarksAreWarnings) {
  const validation report = check(pack_lines(R"({"op":"begin","scope":"phase","name":"load"}
{"op":"end","scope":"phase","name":"other"}
{"op":"end","scope":"phase","name":"load"}
{"op":"begin","scope":"layer","name":"blk","ordinal":3})"));
  EXPECT_TRUE(report.is_valid());
  EXPECT_EQ(report.warning_count, 3u);
}

TEST(Validate, ThreadsNestTheirMarksApart) {
  const validation report = check(pack_lines(R"({"op":"begin","name":"a"}
{"op":"begin","name":"b","thread":1}
{"op":"end","name":"a"}
{"op":"end","name":"b","thread":1})"));
  EXPECT_EQ(report.warning_count, 0u);
}

TEST(Validate, FooterThatDisagreesIsAnError) {
  byte_vector bytes = make_small();
  const std::size_t at = bytes.size() - footer_bytes;
  totals sums;
  std::memcpy(&sums, bytes.data() + at, sizeof(sums));
  ++sums.peak_live_bytes;
  std::memcpy(bytes.data() + at, &sums, sizeof(sums));
  chunk_header header{.tag = footer_tag, .first_event = sums.events};
  header.raw_bytes = header.stored_bytes = footer_bytes;
  header.stored_crc = crc32(std::span(bytes).subspan(at));
  const auto forged = encode(header);
  std::copy(forged.begin(), forged.end(),
            bytes.begin() + static_cast<std::ptrdiff_t>(at - chunk_header_bytes));
  const validation report = check(bytes);
  ASSERT_EQ(report.error_count, 1u);
  EXPECT_NE(report.findings[0].reason.find("peak_live_bytes = 4197"), std::string::npos);
}

TEST(Validate, TruncationIsAFinding) {
  byte_vector bytes = make_small();
  bytes.resize(bytes.size() - 1);
  const validation report = check(bytes);
  ASSERT_EQ(report.error_count, 1u);
  EXPECT_NE(report.findings[0].message().find("truncated"), std::string::npos);
}

TEST(Validate, MetadataAndTextsHaveToBeWellFormed) {
  byte_vector bytes;
  writer out = must(writer::to_memory(bytes, {.metadata = "not json"}));
  ASSERT_TRUE(out.name("\xC0\xAF"));
  expect_ok(out.close());
  EXPECT_EQ(check(bytes).error_count, 2u);
}

TEST(Validate, FindingsAreBoundedAndTensorsToo) {
  std::string lines = prologue;
  for (int i = 0; i < 50; ++i) {
    lines += "{\"op\":\"free\",\"t\":6,\"id\":99}\n";
  }
  const validation few = check(pack_lines(lines), {.max_findings = 3});
  EXPECT_EQ(few.findings.size(), 3u);
  EXPECT_EQ(few.error_count, 50u);
  const validation stopped = check(make_random(1, 100, {}), {.max_tensors = 10});
  EXPECT_EQ(stopped.error_count, 1u);
}

}  // namespace
}  // namespace tidepool::bench::trace::test
