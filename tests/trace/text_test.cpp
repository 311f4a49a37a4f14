// SPDX-License-Identifier: Apache-2.0
//
// The text form: nothing is lost both ways, and errors name their line.
#include "trace/text.hpp"

#include "helpers.hpp"

#include <sstream>

namespace tidepool::bench::trace::test {
namespace {

std::string dump_of(const byte_vector& bytes) {
  auto opened = reader::from_memory(bytes);
  EXPECT_TRUE(opened) << opened.error().message();
  std::ostringstream text;
  const status dumped = dump(*opened, text);
  EXPECT_TRUE(dumped.ok()) << dumped.error().message();
  return text.str();
}

result<totals> pack_into(byte_vector& bytes, const std::string& text) {
  std::istringstream in(text);
  return pack(in, [&](const writer_options& made) { return writer::to_memory(bytes, made); });
}

TEST(TraceText, EveryKindOfEventSurvivesBothWays) {
  const byte_vector bytes = make_small();
  byte_vector again;
  const auto packed = pack_into(again, dump_of(bytes));
  ASSERT_TRUE(packed) << packed.error().message();
  EXPECT_EQ(read_all(again).events, read_all(bytes).events);
  EXPECT_EQ(read_all(again).metadata, read_all(bytes).metadata);
  EXPECT_EQ(read_all(again).footer, read_all(bytes).footer);
}

TEST(TraceText, RandomTracesSurviveBothWays) {
  for (std::uint64_t seed = 100; seed < 110; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const byte_vector bytes = make_random(seed, 100, {});
    byte_vector again;
    const auto packed = pack_into(again, dump_of(bytes));
    ASSERT_TRUE(packed) << packed.error().message();
    ASSERT_EQ(read_all(again).events, read_all(bytes).events);
  }
}

TEST(TraceText, WrongTracesSurviveToo) {
  byte_vector bytes;
  writer out = must(writer::to_memory(bytes));
  expect_ok(out.append({.id = 5,
                        .bytes = 3,
                        .generation = 2,
                        .name = 7,
                        .flags = 0xFFFF,
                        .kind = event_kind::alloc,
                        .category = 9,
                        .device = 200,
                        .alignment_log2 = 70,
                        .detail = 9}));
  expect_ok(out.append({.id = 5, .kind = event_kind::touch, .detail = 0}));
  expect_ok(out.append({.id = 5, .kind = event_kind::free, .detail = 77}));
  expect_ok(out.append({.kind = event_kind::mark_begin, .detail = 99}));
  expect_ok(out.close());
  byte_vector again;
  const auto packed = pack_into(again, dump_of(bytes));
  ASSERT_TRUE(packed) << packed.error().message();
  EXPECT_EQ(read_all(again).events, read_all(bytes).events);
}

TEST(TraceText, DefinesNamesAtTheirFirstUse) {
  byte_vector bytes;
  const auto packed = pack_into(bytes, R"({"trace":"tidepool trace 1","metadata":{"model":"m"}}
# a remark

{"op":"alloc","id":1,"bytes":64,"align":256,"device":"cuda:0","category":"kv","name":"k",)"
                                       R"("flags":["pinned"]}
{"op":"alloc","id":2,"bytes":64,"device":"cpu","category":"kv","name":"k"}
)");
  ASSERT_TRUE(packed) << packed.error().message();
  const content found = read_all(bytes);
  ASSERT_EQ(found.events.size(), 6u);  // name, category, device, alloc, device, alloc
  const event first = found.events[3].record;
  EXPECT_EQ(first.alignment_log2, 8);
  EXPECT_EQ(first.flags, event_flags::pinned);
  EXPECT_EQ(first.name, 1u);
  EXPECT_EQ(first.device, 0);
  EXPECT_EQ(found.events[5].record.device, 1);
  EXPECT_EQ(found.events[5].record.category, first.category);
}

struct mistake {
  const char* name;
  const char* line;
  const char* expected;
};
// GoogleTest prints the bytes of what has no operator.
std::ostream& operator<<(std::ostream& out, const mistake& what) {
  return out << what.name;
}

class TextMistake : public testing::TestWithParam<mistake> {};

TEST_P(TextMistake, IsReportedWithItsLine) {
  byte_vector bytes;
  const auto packed =
      pack_into(bytes, std::string("{\"trace\":\"tidepool trace 1\"}\n# remark\n") +
                           GetParam().line + "\n{\"op\":\"comment\",\"text\":\"after\"}\n");
  ASSERT_FALSE(packed);
  EXPECT_EQ(packed.error().line, 3u) << packed.error().message();
  EXPECT_NE(packed.error().reason.find(GetParam().expected), std::string::npos)
      << packed.error().message();
}

const mistake mistakes[] = {
    {"not_json", "{\"op\":", "not JSON"},
    {"not_an_object", "[1]", "not a JSON object"},
    {"no_operation", "{\"t\":1}", "\"op\""},
    {"unknown_operation", R"({"op":"alocate"})", "names no operation"},
    {"misspelt_key", R"({"op":"alloc","id":1,"byts":4,"device":"cpu"})", "\"byts\""},
    {"key_of_another_kind", R"({"op":"free","id":1,"ids":[1]})", "\"ids\""},
    {"negative", R"({"op":"free","id":-1})", "\"id\""},
    {"fraction", R"({"op":"free","id":1.5})", "\"id\""},
    {"text_for_number", R"({"op":"free","id":"1"})", "\"id\""},
    {"too_large_number", R"({"op":"free","id":1,"thread":65536})", "from 0 to 65535"},
    {"alignment", R"({"op":"alloc","id":1,"align":24,"device":"cpu"})", "power of two"},
    {"alignment_zero", R"({"op":"alloc","id":1,"align":0,"device":"cpu"})", "power of two"},
    {"no_device", R"({"op":"alloc","id":1})", "\"device\" is missing"},
    {"flag", R"({"op":"free","id":1,"flags":["pined"]})", "pined"},
    {"result", R"({"op":"alloc","id":1,"device":"cpu","result":"bad"})", "\"result\""},
    {"empty_list", R"({"op":"read","ids":[]})", "\"ids\""},
    {"wrong_list", R"({"op":"read","ids":[1,"2"]})", "\"ids\" holds"},
    {"large_part", R"({"op":"read","id":1,"parts":[4294967296]})", "\"parts\" holds"},
    {"no_text", R"({"op":"comment"})", "\"text\""},
    {"totals", R"({"end":{"allocs":3}})", "the events make 0"},
};

INSTANTIATE_TEST_SUITE_P(Lines, TextMistake, testing::ValuesIn(mistakes),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(TraceText, NothingFollowsTheEndLine) {
  byte_vector bytes;
  const auto packed =
      pack_into(bytes, "{\"trace\":\"tidepool trace 1\"}\n{\"end\":{}}\n{\"op\":\"trim\"}");
  ASSERT_FALSE(packed);
  EXPECT_EQ(packed.error().line, 3u);
}

TEST(TraceText, TheHeaderLineIsNeeded) {
  byte_vector bytes;
  EXPECT_FALSE(pack_into(bytes, ""));
  EXPECT_FALSE(pack_into(bytes, "{\"op\":\"trim\"}\n"));
  const auto version = pack_into(bytes, "{\"trace\":\"tidepool trace 2\"}\n");
  ASSERT_FALSE(version);
  EXPECT_EQ(version.error().line, 1u);
}

TEST(TraceText, DeepNestingIsOnlyAnError) {
  byte_vector bytes;
  const std::string deep(200000, '[');
  EXPECT_FALSE(pack_into(bytes, deep));
  EXPECT_FALSE(pack_into(bytes, "{\"trace\":\"tidepool trace 1\",\"metadata\":" + deep + "}"));
}

TEST(TraceText, DamageIsReportedAfterTheIntactEvents) {
  byte_vector bytes = make_small(8);
  bytes.resize(bytes.size() - 1);
  auto opened = reader::from_memory(bytes);
  std::ostringstream text;
  const status dumped = dump(*opened, text);
  ASSERT_FALSE(dumped.ok());
  EXPECT_EQ(dumped.error().code, errc::truncated);
  EXPECT_NE(text.str().find("half-way"), std::string::npos);
}

}  // namespace
}  // namespace tidepool::bench::trace::test
