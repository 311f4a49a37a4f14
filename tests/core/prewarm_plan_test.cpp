// SPDX-License-Identifier: Apache-2.0
//
// Plans: the seed system's, from a history of sizes, and what they sum to.
#include "../support/sizes.hpp"
#include <tidepool/prewarm.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace tidepool {
namespace {

using tidepool::test::kib;
using tidepool::test::mib;

TEST(PrewarmPlan, SeedPlanIsExactlyTheSeedSystems) {
  const prewarm_plan plan = prewarm_plan::seed(device::cpu(1));
  const std::vector<prewarm_item> expected{
      {4 * kib, 256}, {64 * kib, 128}, {512 * kib, 64}, {4 * mib, 32}, {32 * mib, 16}};
  EXPECT_EQ(plan.items, expected);
  EXPECT_EQ(plan.where, device::cpu(1));
  EXPECT_TRUE(plan.populate);
  // 1 + 8 + 32 + 128 + 512 MiB.
  EXPECT_EQ(plan.total_bytes(), 681 * mib);
}

TEST(PrewarmPlan, FromSizesKeepsTheMostAliveAtOnceOfEachClass) {
  const std::vector<std::ptrdiff_t> events{100, 100, -100, 128, 5000, 100, -100, -128, -5000, 5120};
  const prewarm_plan plan = prewarm_plan::from_sizes(events);
  const std::vector<prewarm_item> expected{{128, 3}, {5120, 1}};
  EXPECT_EQ(plan.items, expected);
}

TEST(PrewarmPlan, FromSizesIgnoresZerosAndFreesOfNothing) {
  EXPECT_TRUE(prewarm_plan::from_sizes({}).items.empty());
  const std::vector<std::ptrdiff_t> events{0, -64, 64, -64, -64, 64};
  const std::vector<prewarm_item> expected{{64, 1}};
  EXPECT_EQ(prewarm_plan::from_sizes(events).items, expected);
}

TEST(PrewarmPlan, FromSizesTakesTheLargestAndTheSmallestNumbers) {
  const std::vector<std::ptrdiff_t> events{PTRDIFF_MAX, PTRDIFF_MIN, PTRDIFF_MIN};
  const prewarm_plan plan = prewarm_plan::from_sizes(events);
  ASSERT_EQ(plan.items.size(), 1U);
  EXPECT_EQ(plan.items[0].bytes, static_cast<std::size_t>(PTRDIFF_MAX));
}

TEST(PrewarmPlan, TotalRoundsToClassesAndSaturates) {
  EXPECT_EQ((prewarm_plan{.items = {{1, 1}, {65, 2}, {513, 1}}}.total_bytes()), 64U + 256 + 576);
  EXPECT_EQ((prewarm_plan{.items = {{0, SIZE_MAX}, {64, 0}}}.total_bytes()), 0U);
  EXPECT_EQ((prewarm_plan{.items = {{SIZE_MAX, 2}}}.total_bytes()), SIZE_MAX);
  EXPECT_EQ((prewarm_plan{.items = {{SIZE_MAX / 2 + 1, 1}, {SIZE_MAX / 2 + 1, 1}}}.total_bytes()),
            SIZE_MAX);
  EXPECT_EQ((prewarm_plan{.items = {{64, SIZE_MAX / 2}}}.total_bytes()), SIZE_MAX);
}

}  // namespace
}  // namespace tidepool
