// SPDX-License-Identifier: Apache-2.0
//
// access_table alone: sums near their ends, scores that are shifted, what logs hold.
#include "../support/access_kernels_check.hpp"
#include "access/table.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

namespace tidepool::detail {
namespace {

// Indices of one value, with what kernels read behind them.
struct same_indices {
  explicit same_indices(std::uint32_t index, std::size_t n) : all(n + access_lookahead, index) {}
  [[nodiscard]] access_view view(std::uint64_t tick) const {
    return {.indices = all.data(), .n = all.size() - access_lookahead, .tick = tick};
  }
  std::vector<std::uint32_t> all;
};

TEST(AccessTable, ScalarKernelsEqualThePlainLoops) {
  test::check_access_kernels(scalar_access_kernels);
}

TEST(AccessTable, CountsStopAtTheirEndForGoodAndTheirNeighboursGoOn) {
  access_table table;
  ASSERT_TRUE(table.open(3, {}));
  for (std::size_t i = 0; i < 3; ++i) {
    table.begin(i, 1, 0, 0);
  }
  table.set_for_test(1, UINT64_MAX - 5, 0);
  access_report report;
  table.apply(same_indices(1, 4).view(1), report);
  EXPECT_EQ(table.at(1).count, UINT64_MAX - 1);  // the last exact count
  EXPECT_EQ(table.totals.saturated, 0U);
  table.apply(same_indices(1, 4).view(2), report);
  EXPECT_EQ(table.at(1).count, UINT64_MAX);
  EXPECT_EQ(table.totals.saturated, 1U);
  table.apply(same_indices(1, 4).view(3), report);
  table.apply(same_indices(2, 4).view(3), report);
  EXPECT_EQ(table.at(1).count, UINT64_MAX);
  EXPECT_EQ(table.at(1).tick, 3U);
  EXPECT_EQ(table.at(2).count, 4U);
  EXPECT_EQ(table.totals.saturated, 1U);
  EXPECT_EQ(report.recorded, 16U);
  // The same by bins.
  std::array<std::uint32_t, 3> bins{7, 7, 7};
  table.merge(bins, 21, 4, report);
  EXPECT_EQ(table.at(0).count, 7U);
  EXPECT_EQ(table.at(1).count, UINT64_MAX);
  EXPECT_EQ(table.at(2).count, 11U);
  EXPECT_EQ(report.recorded, 37U);
  EXPECT_EQ(table.verify(), nullptr);
  // An entry that ended leaves nothing behind.
  table.end(1);
  table.begin(1, 2, 0, 0);
  EXPECT_EQ(table.at(1).count, 0U);
}

TEST(AccessTable, ABoundThatIsReachedIsLookedAtAgain) {
  access_table table;
  ASSERT_TRUE(table.open(2, {}));
  table.begin(0, 1, 0, 0);
  table.set_for_test(0, UINT64_MAX - 2, 0);
  table.end(0);  // the high count is gone, the bound does not know
  table.begin(0, 1, 0, 0);
  access_report report;
  table.apply(same_indices(0, 100).view(1), report);
  EXPECT_EQ(table.at(0).count, 100U);
  EXPECT_EQ(table.totals.saturated, 0U);
}

TEST(AccessTable, ScoresNearTheirEndAreShiftedAndKeepTheirOrder) {
  access_table table;
  ASSERT_TRUE(table.open(3, {.half_life = 4}));
  for (std::size_t i = 0; i < 3; ++i) {
    table.begin(i, 1, 0, 0);
  }
  table.set_for_test(0, 0, (std::uint64_t{1} << 62) - 1);
  table.set_for_test(1, 0, (std::uint64_t{1} << 61));
  access_report report;
  table.apply(same_indices(2, 1).view(0), report);
  EXPECT_EQ(table.totals.rebases, 1U);
  EXPECT_EQ(table.exponent(), 8U);
  EXPECT_EQ(table.at(0).score, ((std::uint64_t{1} << 62) - 1) >> 8);
  EXPECT_EQ(table.at(1).score, std::uint64_t{1} << 53);
  EXPECT_EQ(table.at(2).score, 256U);  // 1 in 2^-16, shifted by 8
  EXPECT_EQ(table.verify(), nullptr);
}

TEST(AccessTable, ScoresOfTheSameAccessesAreTheSameInAnyOrder) {
  const std::array<std::uint64_t, 5> ticks{3, 50, 7, 31, 32};
  std::array<std::uint64_t, 2> scores{};
  for (std::size_t round = 0; round < 2; ++round) {
    access_table table;
    ASSERT_TRUE(table.open(1, {.half_life = 10}));
    table.begin(0, 1, 0, 0);
    access_report report;
    for (std::size_t i = 0; i < ticks.size(); ++i) {
      table.apply(same_indices(0, 3).view(ticks[round == 0 ? i : ticks.size() - 1 - i]), report);
    }
    scores[round] = table.at(0).score;
  }
  EXPECT_EQ(scores[0], scores[1]);
  EXPECT_NE(scores[0], 0U);
}

TEST(AccessTable, FarTicksAndLongHalfLivesAreDefined) {
  for (const std::uint64_t half_life :
       {std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{1} << 57, UINT64_MAX}) {
    access_table table;
    ASSERT_TRUE(table.open(1, {.half_life = half_life}));
    table.begin(0, 1, 0, 0);
    access_report report;
    for (const std::uint64_t tick : {std::uint64_t{1}, UINT64_MAX, std::uint64_t{5}, UINT64_MAX}) {
      table.apply(same_indices(0, 1024).view(tick), report);
    }
    EXPECT_EQ(table.at(0).count, 4096U);
    EXPECT_EQ(table.at(0).tick, UINT64_MAX);
    EXPECT_EQ(table.verify(), nullptr) << half_life;
  }
}

TEST(AccessTable, FiguresMoveBetweenTablesOfDifferentExponents) {
  access_table old;
  access_table young;
  ASSERT_TRUE(old.open(1, {.half_life = 1}));
  ASSERT_TRUE(young.open(1, {.half_life = 1}));
  old.begin(0, 1, 0, 0);
  young.begin(0, 1, 0, 0);
  access_report report;
  young.apply(same_indices(0, 1).view(40), report);
  old.apply(same_indices(0, 1).view(20), report);
  const std::uint64_t before = old.at(0).score;
  const std::uint64_t shift = young.exponent() - old.exponent();
  young.write(0, old.read(0));
  EXPECT_EQ(young.at(0).score, before >> shift);
  // And the other way round the table follows.
  young.apply(same_indices(0, 1).view(40), report);
  old.write(0, young.read(0));
  EXPECT_EQ(old.exponent(), young.exponent());
  EXPECT_EQ(old.at(0).score, young.at(0).score);
}

TEST(AccessTable, WhatFindsTheLockTakenIsAddedByItsHolder) {
  access_table table;
  ASSERT_TRUE(table.open(2, {}));
  table.begin(1, 9, 0, 0);
  const std::vector<std::uint32_t> generations{9, 9, 8};
  const std::vector<std::uint32_t> weights{5, 6, 7};
  const same_indices ones(1, 3);
  access_view view = ones.view(77);
  table.lock();
  ASSERT_TRUE(table.log().append(view, {.padding = 2}));
  view.generations = generations.data();
  view.weights = weights.data();
  ASSERT_TRUE(table.log().append(view, {.masked = 1}));
  EXPECT_FALSE(table.try_lock());
  EXPECT_EQ(table.at(1).count, 0U);
  table.unlock();
  EXPECT_EQ(table.at(1).count, 3U + 5U + 6U);
  EXPECT_EQ(table.at(1).tick, 77U);
  EXPECT_EQ(table.totals.padding, 2U);
  EXPECT_EQ(table.totals.masked, 1U);
  EXPECT_EQ(table.totals.stale, 1U);
  EXPECT_EQ(table.totals.batches, 2U);
  EXPECT_EQ(table.totals.deferred, 6U);
}

TEST(AccessTable, DenseBatchesThatFindItTakenAreCountedOutsideTheLock) {
  access_table table;
  ASSERT_TRUE(table.open(4, {}));
  table.begin(1, 9, 0, 0);
  table.begin(2, 9, 0, 0);
  const same_indices ones(1, 3);
  const same_indices twos(2, 5);
  const same_indices none(3, 2);
  const same_indices thin(1, 1);
  table.lock();
  ASSERT_TRUE(table.count_beside(ones.view(77), {.padding = 2}));
  ASSERT_TRUE(table.count_beside(twos.view(77), {}));
  ASSERT_TRUE(table.count_beside(none.view(77), {}));
  EXPECT_FALSE(table.count_beside(ones.view(78), {})) << "a stripe has one tick";
  EXPECT_FALSE(table.count_beside(thin.view(77), {})) << "fewer than half as many as records";
  access_view known = ones.view(77);
  const std::vector<std::uint32_t> generations{9, 9, 9};
  known.generations = generations.data();
  EXPECT_FALSE(table.count_beside(known, {}));
  EXPECT_TRUE(table.log().has_any());
  EXPECT_EQ(table.at(1).count, 0U);
  table.unlock();
  EXPECT_FALSE(table.log().has_any());
  EXPECT_EQ(table.at(1).count, 3U);
  EXPECT_EQ(table.at(2).count, 5U);
  EXPECT_EQ(table.at(2).tick, 77U);
  EXPECT_EQ(table.totals.padding, 2U);
  EXPECT_EQ(table.totals.recorded, 8U);
  EXPECT_EQ(table.totals.stale, 2U);
  EXPECT_EQ(table.totals.batches, 3U);
  EXPECT_EQ(table.totals.deferred, 10U);
  // Emptied, it takes another tick.
  table.lock();
  EXPECT_TRUE(table.count_beside(ones.view(78), {}));
  table.unlock();
  EXPECT_EQ(table.at(1).count, 6U);
  EXPECT_EQ(table.at(1).tick, 78U);
}

TEST(AccessTable, AFullLogRefusesAndKeepsWhatItHas) {
  access_log log;
  const same_indices ones(1, 1000);
  std::size_t held = 0;
  while (log.append(ones.view(1), {.recorded = 1})) {
    ++held;
  }
  EXPECT_GT(held, 10U);
  std::size_t seen = 0;
  const access_log::drained out = log.drain([&](const access_view& v) { seen += v.n; },
                                            [](std::uint32_t*, std::uint64_t, std::uint64_t) {});
  EXPECT_EQ(seen, held * 1000);
  EXPECT_EQ(out.batches, held);
  EXPECT_EQ(out.left_out.recorded, held);
  EXPECT_FALSE(log.has_any());
  EXPECT_TRUE(log.append(ones.view(1), {}));
}

TEST(AccessTable, ClearingMakesItNew) {
  access_table table;
  ASSERT_TRUE(table.open(5000, {}));
  for (std::size_t i = 0; i < 5000; i += 7) {
    table.begin(i, 1, 0, 3);
  }
  EXPECT_EQ(table.entries(), 715U);
  table.clear();
  EXPECT_EQ(table.entries(), 0U);
  std::size_t seen = 0;
  table.for_each_entry([&](std::size_t, const access_record&) { ++seen; });
  EXPECT_EQ(seen, 0U);
  table.begin(4999, 1, 0, 3);
  EXPECT_EQ(table.verify(), nullptr);
}

}  // namespace
}  // namespace tidepool::detail
