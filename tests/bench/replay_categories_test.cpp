// SPDX-License-Identifier: Apache-2.0
//
// The categories of a trace: the replay's table of names against the library's own.
#include "make_trace.hpp"
#include "tidepool/replay/categories.hpp"
#include "tidepool/replay/make_pool.hpp"
#include "tidepool/replay/vocabulary.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace tidepool::bench {
namespace {

class ReplayCategories : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(made_.has_value()); }
  [[nodiscard]] pool& target() { return *made_; }

 private:
  result<pool> made_ = make_pool({});
};

TEST_F(ReplayCategories, EveryBuiltInOneOfTheLibraryIsInTheTable) {
  for (unsigned value = 0; value < built_in_categories; ++value) {
    const auto expected = static_cast<category>(value);
    const std::string name{target().category_name(expected)};
    ASSERT_FALSE(name.empty()) << value;
    EXPECT_EQ(built_in_category(name), std::optional(expected)) << name;
  }
  EXPECT_EQ(built_in_category(""), std::nullopt);
  EXPECT_EQ(built_in_category("weights"), std::nullopt);
}

TEST_F(ReplayCategories, ATraceTracksThoseThatTheLibraryCallsEvictable) {
  for (unsigned value = 0; value < built_in_categories; ++value) {
    const auto what = static_cast<category>(value);
    const std::string name{target().category_name(what)};
    const temporary_trace file(
        {allocation_event({.id = 1, .bytes = 8, .category = 1}), read_event({.id = 1})}, {name});
    trace::result<replay_plan> decoded = decode(file.path(), {.keep_accesses = true});
    const access_plan& accesses = plan_of(decoded).accesses;
    EXPECT_EQ(accesses.tensors.size(), is_evictable(what) ? 1U : 0U) << name;
    EXPECT_EQ(accesses.reads.size(), is_evictable(what) ? 1U : 0U) << name;
    EXPECT_EQ(accesses.left_out, is_evictable(what) ? 0U : 1U) << name;
  }
}

TEST_F(ReplayCategories, ATracesOwnIsRegisteredOnce) {
  const category first = category_of(target(), "lora");
  EXPECT_GE(static_cast<unsigned>(first), built_in_categories);
  EXPECT_EQ(target().category_name(first), "lora");
  EXPECT_EQ(category_of(target(), "lora"), first);
  EXPECT_NE(category_of(target(), "rope"), first);
  EXPECT_EQ(category_of(target(), "expert"), category::expert);
  EXPECT_EQ(category_of(target(), ""), category::temporary);
}

TEST_F(ReplayCategories, AVocabularyKnowsWhatTheTraceDefinesAndNothingElse) {
  replay_plan plan;
  plan.names = {"", "blk.0", ""};
  plan.categories = {"", "kv_cache", "lora"};
  const vocabulary words(target(), plan);
  EXPECT_EQ(target().name(words.name_of(1)), "blk.0");
  for (const std::uint32_t number : {0U, 2U, 3U, UINT32_MAX}) {
    EXPECT_EQ(words.name_of(number), name_id{}) << number;
  }
  EXPECT_EQ(words.category_of(1), category::kv_cache);
  EXPECT_EQ(target().category_name(words.category_of(2)), "lora");
  EXPECT_EQ(words.category_of(0), category::temporary);
  EXPECT_EQ(words.category_of(200), category::temporary);
}

}  // namespace
}  // namespace tidepool::bench
