// SPDX-License-Identifier: Apache-2.0
//
// The naive pool keeps its books right: a yardstick that is wrong measures nothing.
#include "naive/naive_pool.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace tidepool::bench {
namespace {

TEST(NaivePool, AllocationHasRecordAndAlignment) {
  naive_pool pool;
  for (const std::size_t alignment : {16U, 64U, 256U, 4096U}) {
    const naive_pool::allocation made = pool.allocate(1000, 3, alignment);
    ASSERT_NE(made.id, 0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made.data) % alignment, 0U);
    std::memset(made.data, 7, 1000);
    const std::optional<naive_pool::record> record = pool.info(made.id);
    ASSERT_TRUE(record);
    EXPECT_EQ(record->data, made.data);
    EXPECT_EQ(record->bytes, 1000U);
    EXPECT_EQ(record->category, 3U);
    EXPECT_EQ(record->references, 1U);
    EXPECT_EQ(record->accesses, 0U);
    EXPECT_TRUE(pool.deallocate(made.id));
  }
}

TEST(NaivePool, ZeroBytesIsATensorWithoutData) {
  naive_pool pool;
  const naive_pool::allocation made = pool.allocate(0);
  EXPECT_EQ(made.data, nullptr);
  EXPECT_NE(made.id, 0U);
  EXPECT_EQ(pool.sums().live, 1U);
  EXPECT_TRUE(pool.deallocate(made.id));
}

TEST(NaivePool, IdsAreNeverReusedAndStaleOnesAreRefused) {
  naive_pool pool;
  const std::uint64_t first = pool.allocate(64).id;
  EXPECT_TRUE(pool.deallocate(first));
  const std::uint64_t second = pool.allocate(64).id;
  EXPECT_NE(first, second);
  EXPECT_FALSE(pool.deallocate(first));
  EXPECT_FALSE(pool.retain(first));
  EXPECT_FALSE(pool.access(first));
  EXPECT_FALSE(pool.info(first));
  EXPECT_FALSE(pool.deallocate(0));
  EXPECT_TRUE(pool.deallocate(second));
}

TEST(NaivePool, LastReferenceFrees) {
  naive_pool pool;
  const std::uint64_t id = pool.allocate(64).id;
  EXPECT_TRUE(pool.retain(id));
  EXPECT_EQ(pool.info(id)->references, 2U);
  EXPECT_TRUE(pool.deallocate(id));
  EXPECT_EQ(pool.sums().live, 1U);
  EXPECT_TRUE(pool.deallocate(id));
  EXPECT_EQ(pool.sums().live, 0U);
}

TEST(NaivePool, LastUseIsKeptOnRequestOnly) {
  naive_pool without;
  naive_pool with(naive_pool::last_use::kept);
  const std::uint64_t first = without.allocate(64).id;
  const std::uint64_t second = with.allocate(64).id;
  EXPECT_TRUE(without.access(first));
  EXPECT_TRUE(with.access(second));
  EXPECT_EQ(without.info(first)->accesses, 1U);
  EXPECT_EQ(without.info(first)->used, naive_pool::clock::time_point{});
  EXPECT_GT(with.info(second)->used, naive_pool::clock::time_point{});
}

TEST(NaivePool, ImpossibleSizeAnswersAndChangesNothing) {
  naive_pool pool;
  EXPECT_EQ(pool.allocate(SIZE_MAX).id, 0U);
  EXPECT_EQ(pool.allocate(SIZE_MAX, 0, 16).id, 0U);
  EXPECT_EQ(pool.sums().allocations, 0U);
}

TEST(NaivePool, SumsAreExactOverThreads) {
  constexpr unsigned threads = 4;
  constexpr unsigned rounds = 2000;
  naive_pool pool;
  {
    std::vector<std::jthread> all;
    for (unsigned index = 0; index < threads; ++index) {
      all.emplace_back([&pool, index] {
        std::mt19937 random(index);
        std::vector<std::uint64_t> live;
        for (unsigned i = 0; i < rounds; ++i) {
          live.push_back(pool.allocate(random() % 5000).id);
          if (live.size() > 16) {
            pool.deallocate(live.front());
            live.erase(live.begin());
          }
        }
        for (const std::uint64_t id : live) {
          pool.deallocate(id);
        }
      });
    }
  }
  const naive_pool::totals sums = pool.sums();
  EXPECT_EQ(sums.allocations, threads * rounds);
  EXPECT_EQ(sums.frees, threads * rounds);
  EXPECT_EQ(sums.live, 0U);
  EXPECT_EQ(sums.live_bytes, 0U);
  EXPECT_GT(sums.peak_live_bytes, 0U);
}

}  // namespace
}  // namespace tidepool::bench
