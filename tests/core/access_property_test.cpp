// SPDX-License-Identifier: Apache-2.0
//
// Access entries against a model of maps: all figures are compared at the end of each run.
#include "../support/amount.hpp"
#include "access_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

namespace tidepool::test {

void world::compare_all() {
  for (const auto& [key, expected] : entries_) {
    const result<access_info> found =
        p.accesses().info(tensor_id::from_value(key.first), key.second);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ((figures{found->count, found->tick, found->category}), expected)
        << key.first << " part " << key.second;
  }
  for (const modelled_domain& d : domains_) {
    for (std::uint64_t i = 0; i < d.size; ++i) {
      const result<access_info> found = p.accesses().info(d.handle, i);
      const auto bound = d.bound.find(i);
      ASSERT_EQ(found.has_value(), bound != d.bound.end()) << i;
      if (found) {
        EXPECT_EQ((name{found->id.value(), found->part}), bound->second);
      }
    }
  }
  std::vector<std::tuple<std::uint64_t, std::uint64_t, name>> expected;
  for (const auto& [key, entry] : entries_) {
    const bool divided = entries_.count({key.first, 0}) != 0;
    if (key.second != whole_tensor || !divided) {
      expected.emplace_back(entry.tick, entry.count, key);
    }
  }
  std::sort(expected.begin(), expected.end());
  const std::vector<access_info> ranked = p.accesses().ranked(access_order::tick);
  ASSERT_EQ(ranked.size(), expected.size());
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    const auto& [tick, count, key] = expected[i];
    EXPECT_EQ((name{ranked[i].id.value(), ranked[i].part}), key) << "rank " << i;
    EXPECT_EQ(ranked[i].tick, tick);
    EXPECT_EQ(ranked[i].count, count);
  }
}

namespace {

TEST(AccessProperty, AllFiguresAreThoseOfTheModel) {
  const std::uint64_t first = amount("TIDEPOOL_TEST_FIRST_SEED", 1);
  const std::uint64_t seeds = amount("TIDEPOOL_TEST_SEEDS", 12);
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    world(seed).run(250);
    if (HasFailure()) {
      return;
    }
  }
}

}  // namespace
}  // namespace tidepool::test
