// SPDX-License-Identifier: Apache-2.0
//
// The heap of extents alone, one thread: which place is taken, merging, claims, purging by age,
// growth, and that check() finds damage. Random sequences are in backend_property_test.cpp.
#include "extent_heap.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

namespace tidepool::cpu {
namespace {

class ExtentHeap : public ::testing::Test {
 protected:
  ExtentHeap() { ledger_.host = &host_; }

  std::uint32_t take(std::uint32_t pages, std::uint32_t alignment = 1) {
    const result<std::uint32_t> made = heap_.allocate({.pages = pages, .alignment = alignment});
    EXPECT_TRUE(made.has_value());
    check();
    return made ? *made : 0;
  }
  void give(std::uint32_t index, std::uint64_t epoch = 0) {
    heap_.release(index, epoch);
    check();
  }
  void check() {
    EXPECT_EQ(heap_.check(), nullptr);
    EXPECT_EQ(heap_.backed_pages(), ledger_.pages);
    EXPECT_EQ(host_.claimed.load(), ledger_.pages * page_bytes);
  }
  [[nodiscard]] std::uint64_t page(std::uint32_t index) { return heap_[index].page; }

  counting_host host_;
  faulty_memory os_;
  claims ledger_;
  extent_heap heap_{os_, ledger_, {.bytes = 256 * mib}};
};

TEST_F(ExtentHeap, TakesTheSmallestThatFitsAndThereTheLowest) {
  std::array<std::uint32_t, 7> taken{};
  const std::array<std::uint32_t, 7> pages{50, 1, 20, 1, 20, 1, 1};
  for (std::size_t i = 0; i != taken.size(); ++i) {
    taken[i] = take(pages[i]);
  }
  const std::uint64_t low = page(taken[2]);
  const std::uint64_t high = page(taken[4]);
  const std::uint64_t large = page(taken[0]);
  give(taken[4]);
  give(taken[2]);
  give(taken[0]);
  const std::uint32_t a = take(15);
  EXPECT_EQ(page(a), low);
  const std::uint32_t b = take(20);
  EXPECT_EQ(page(b), high);
  const std::uint32_t c = take(6);
  EXPECT_EQ(page(c), large) << "5 pages are left of the first, too few";
}

TEST_F(ExtentHeap, MergesWithBothNeighbours) {
  const std::uint32_t a = take(10);
  const std::uint32_t b = take(10);
  const std::uint32_t c = take(10);
  const std::uint32_t d = take(10);
  const std::uint64_t first = page(a);
  give(a);
  give(c);
  EXPECT_EQ(heap_.longest_backed(), 10U);
  give(b);
  EXPECT_EQ(heap_.longest_backed(), 30U);
  const std::uint32_t all = take(30);
  EXPECT_EQ(page(all), first);
  give(all);
  give(d);
  EXPECT_EQ(heap_.longest_backed(), 40U);
}

TEST_F(ExtentHeap, ReuseClaimsNothingAndCallsNobody) {
  give(take(1000));
  const std::uint64_t calls = os_.calls();
  const std::size_t claims = host_.claims.load();
  for (int i = 0; i != 100; ++i) {
    give(take(1000));
    give(take(300));
  }
  EXPECT_EQ(os_.calls(), calls);
  EXPECT_EQ(host_.claims.load(), claims);
}

TEST_F(ExtentHeap, GrowsAFreeTailInsteadOfLeavingIt) {
  give(take(100));
  const std::uint32_t larger = take(150);
  EXPECT_EQ(heap_.backed_pages(), 150U);
  give(larger);
}

TEST_F(ExtentHeap, AlignsUpToAGibibyte) {
  for (std::uint32_t alignment = 1; alignment <= 1U << 18; alignment *= 2) {
    const std::uint32_t a = take(3, alignment);
    EXPECT_EQ(page(a) % alignment, 0U);
    give(take(1));
  }
  EXPECT_LT(heap_.backed_pages(), 100U) << "pages skipped for alignment must not be backed";
}

TEST_F(ExtentHeap, PurgedPagesAreNotClaimedTwice) {
  const std::uint32_t a = take(100);
  give(a);
  EXPECT_EQ(heap_.purge(40), 40U);
  check();
  EXPECT_EQ(heap_.backed_pages(), 60U);
  EXPECT_EQ(heap_.longest_backed(), 60U);
  const std::size_t claimed = host_.claimed.load();
  const result<std::uint32_t> none = heap_.allocate({.pages = 61, .may_grow = false});
  EXPECT_EQ(none.error().code, errc::out_of_memory);
  const result<std::uint32_t> some = heap_.allocate({.pages = 60, .may_grow = false});
  ASSERT_TRUE(some.has_value());
  EXPECT_EQ(host_.claimed.load(), claimed);
  check();
  give(*some);
  give(take(100));
  EXPECT_EQ(heap_.backed_pages(), 100U);
}

TEST_F(ExtentHeap, FindsABackedRunInsideAMixedExtent) {
  const std::uint32_t a = take(64);
  const std::uint32_t b = take(64);
  const std::uint32_t c = take(64);
  give(a, 1);
  give(c, 1);
  EXPECT_EQ(heap_.purge(SIZE_MAX), 128U);
  const std::uint64_t middle = page(b);
  give(b, 2);
  const std::size_t claims = host_.claims.load();
  const std::uint32_t again = take(64);
  EXPECT_EQ(page(again), middle) << "what is backed comes before what must be claimed";
  EXPECT_EQ(host_.claims.load(), claims);
  give(again);
}

TEST_F(ExtentHeap, PurgesTheOldestFirst) {
  const std::uint32_t a = take(10);
  take(1);
  const std::uint32_t b = take(10);
  take(1);
  const std::uint32_t c = take(10);
  take(1);
  give(b, 1);
  give(c, 2);
  give(a, 3);
  EXPECT_EQ(heap_.purge_older(0), 0U);
  EXPECT_EQ(heap_.purge_older(2), 20U);
  check();
  EXPECT_EQ(heap_.purge_older(2), 0U);
  EXPECT_EQ(heap_.purge_older(3), 10U);
  check();
}

TEST_F(ExtentHeap, LateArrivalsTakeTheirPlaceByAge) {
  const std::uint32_t a = take(10);
  take(1);
  const std::uint32_t b = take(10);
  take(1);
  const std::uint32_t c = take(10);
  take(1);
  give(a, 5);
  give(b, 2);
  give(c, 4);
  EXPECT_EQ(heap_.purge_older(2), 10U);
  EXPECT_EQ(heap_.purge_older(4), 10U);
  EXPECT_EQ(heap_.purge_older(5), 10U);
}

TEST_F(ExtentHeap, MergedMemoryIsAsYoungAsItsYoungestPart) {
  const std::uint32_t a = take(10);
  const std::uint32_t b = take(10);
  take(1);
  give(a, 1);
  give(b, 5);
  EXPECT_EQ(heap_.purge_older(4), 0U);
  EXPECT_EQ(heap_.purge_older(5), 20U);
}

TEST_F(ExtentHeap, ARefusedGiveBackIsRetriedLater) {
  give(take(10));
  os_.refuse_kind = true;
  os_.kind = system_call::discard;
  EXPECT_EQ(heap_.purge(SIZE_MAX), 0U);
  check();
  EXPECT_EQ(heap_.backed_pages(), 10U);
  os_.refuse_kind = false;
  EXPECT_EQ(heap_.purge(SIZE_MAX), 10U);
  check();
}

TEST_F(ExtentHeap, ExtendsIntoFreeMemoryAndTheFrontier) {
  const std::uint32_t a = take(10);
  const std::uint32_t b = take(10);
  const std::uint32_t c = take(10);
  EXPECT_EQ(heap_.extend(a, 11).code, errc::out_of_memory);
  give(b);
  EXPECT_EQ(heap_.extend(a, 21).code, errc::out_of_memory);
  ASSERT_TRUE(heap_.extend(a, 13).ok());
  check();
  EXPECT_EQ(heap_[a].pages, 13U);
  ASSERT_TRUE(heap_.extend(a, 20).ok());
  check();
  EXPECT_EQ(heap_.backed_pages(), 30U);
  ASSERT_TRUE(heap_.extend(c, 50).ok());
  check();
  EXPECT_EQ(heap_.backed_pages(), 70U);
  give(c);
  ASSERT_TRUE(heap_.extend(a, 100).ok());
  check();
  EXPECT_EQ(heap_[a].pages, 100U);
  host_.limit = host_.claimed.load();
  EXPECT_EQ(heap_.extend(a, 101).code, errc::over_budget);
  check();
  host_.limit = SIZE_MAX;
  EXPECT_EQ(heap_.extend(a, 256 * mib / page_bytes + 1).code, errc::out_of_memory);
  check();
  give(a);
}

TEST_F(ExtentHeap, OpensArenasAndUnmapsAllButTheFirst) {
  const std::size_t one = [&] {
    take(1);
    return heap_.address_space_bytes();
  }();
  const std::uint32_t large = take(512 * mib / page_bytes);
  EXPECT_GT(heap_.address_space_bytes(), 2 * one);
  give(large);
  heap_.release_empty_arenas();
  check();
  EXPECT_GT(heap_.address_space_bytes(), 2 * one) << "its pages are still backed";
  heap_.purge(SIZE_MAX);
  os_.refuse_kind = true;
  os_.kind = system_call::release;
  heap_.release_empty_arenas();
  check();
  EXPECT_GT(heap_.address_space_bytes(), 2 * one) << "the system refused";
  os_.refuse_kind = false;
  heap_.release_empty_arenas();
  check();
  EXPECT_EQ(heap_.address_space_bytes(), one);
  give(take(512 * mib / page_bytes));
}

TEST_F(ExtentHeap, CheckFindsWhatIsBroken) {
  const std::uint32_t a = take(10);
  const std::uint32_t b = take(10);
  give(a);
  heap_[b].backed = 9;
  EXPECT_NE(heap_.check(), nullptr);
  heap_[b].backed = 10;
  heap_[a].epoch = 0;
  EXPECT_EQ(heap_.check(), nullptr);
  heap_[b].state = extent_state::free;
  EXPECT_NE(heap_.check(), nullptr);
  heap_[b].state = extent_state::block;
  heap_[a].pages = 9;
  EXPECT_NE(heap_.check(), nullptr);
  heap_[a].pages = 10;
  EXPECT_EQ(heap_.check(), nullptr);
}

}  // namespace
}  // namespace tidepool::cpu
