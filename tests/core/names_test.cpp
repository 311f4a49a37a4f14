// SPDX-License-Identifier: Apache-2.0
//
// Interned names and categories up to their limits.
#include "record/names.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace tidepool::detail {
namespace {

TEST(NameTable, EqualNamesHaveOneId) {
  name_table names;
  const name_id a = *names.intern("blk.3.ffn");
  std::string copy = "blk.3.";
  copy += "ffn";
  EXPECT_EQ(*names.intern(copy), a);
  EXPECT_NE(*names.intern("blk.4.ffn"), a);
  EXPECT_EQ(names.text(a), "blk.3.ffn");
  EXPECT_EQ(names.last(), 2U);
}

TEST(NameTable, NamesMayBeEmptyOrHaveNullBytes) {
  name_table names;
  const name_id empty = *names.intern("");
  EXPECT_TRUE(empty);
  EXPECT_EQ(*names.intern({}), empty);
  const std::string_view odd("a\0b", 3);
  EXPECT_EQ(names.text(*names.intern(odd)), odd);
  EXPECT_NE(*names.intern("a"), *names.intern(odd));
}

TEST(NameTable, UnknownIdsHaveNoText) {
  name_table names;
  EXPECT_EQ(names.text({}), "");
  EXPECT_EQ(names.text(name_id::from_value(1)), "");
  EXPECT_EQ(names.text(name_id::from_value(UINT32_MAX)), "");
}

TEST(NameTable, EndsAtTwoToTheTwentyNamesAndStaysValid) {
  name_table names;
  const std::string_view first = names.text(*names.intern("n0"));
  for (std::uint32_t i = 1; i < name_table::most; ++i) {
    ASSERT_TRUE(names.intern("n" + std::to_string(i)).has_value()) << i;
  }
  EXPECT_EQ(names.last(), name_table::most);
  EXPECT_EQ(names.intern("one more").error().code, errc::too_many);
  EXPECT_EQ(names.last(), name_table::most);
  EXPECT_EQ(*names.intern("n7"), name_id::from_value(8));
  EXPECT_EQ(first, "n0");
  EXPECT_EQ(first.data(), names.text(name_id::from_value(1)).data());
}

TEST(CategoryTable, HasTheSixteenBuiltInOnes) {
  category_table table;
  std::set<std::string_view> names;
  for (unsigned c = 0; c < built_in_categories; ++c) {
    EXPECT_TRUE(table.is_known(static_cast<category>(c)));
    names.insert(table.name(static_cast<category>(c)));
  }
  EXPECT_EQ(names.size(), built_in_categories);
  EXPECT_EQ(names.count(""), 0U);
  EXPECT_EQ(table.name(category::kv_cache), "kv_cache");
  EXPECT_FALSE(table.is_known(static_cast<category>(16)));
  EXPECT_EQ(table.name(static_cast<category>(16)), "");
  EXPECT_EQ(table.priority(static_cast<category>(16)), 0U);
}

TEST(CategoryTable, TakesTwoHundredAndFortyMore) {
  category_table table;
  for (unsigned c = 16; c < 256; ++c) {
    const auto priority = static_cast<std::uint8_t>(c * 3);
    const result<category> made = table.add("mine " + std::to_string(c), priority);
    ASSERT_TRUE(made.has_value());
    EXPECT_EQ(static_cast<unsigned>(*made), c);
    EXPECT_EQ(table.priority(*made), priority);
    EXPECT_EQ(table.name(*made), "mine " + std::to_string(c));
  }
  EXPECT_EQ(table.add("too many", 1).error().code, errc::too_many);
  EXPECT_EQ(table.count(), 256U);
  EXPECT_EQ(table.name(category::weight), "weight");
}

TEST(Lifecycle, DefaultsFollowTheCategory) {
  EXPECT_EQ(default_lifecycle(category::gradient), lifecycle::temporary);
  EXPECT_EQ(default_lifecycle(category::weight), lifecycle::persistent);
  EXPECT_EQ(default_lifecycle(category::other), lifecycle::persistent);
}

}  // namespace
}  // namespace tidepool::detail
