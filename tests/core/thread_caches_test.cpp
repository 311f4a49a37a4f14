// SPDX-License-Identifier: Apache-2.0
//
// thread_caches by itself: what one thread keeps, how much, and how others take it back.
#include "pool/thread_caches.hpp"

#include "part_support.hpp"
#include "pool/process.hpp"
#include "pool/this_thread.hpp"
#include "system/address_space.hpp"

#include <atomic>
#include <cstddef>
#include <mutex>
#include <new>
#include <thread>

namespace tidepool::detail {
namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

class ThreadCaches : public PartTest {
 protected:
  [[nodiscard]] lane& where() { return all.at(0); }
  [[nodiscard]] block_demand demand(std::size_t bytes) {
    block_demand made = demand_for(where(), {bytes, 64});
    made.requested = bytes;
    return made;
  }
  /// As a pool allocates: a slot from the cache, else one batch from the backend.
  [[nodiscard]] record& take(front_cache* cache, std::size_t bytes) {
    const auto [slot, batch] = caches.take(demand(bytes), cache);
    if (slot != nullptr) {
      return *slot;
    }
    std::array<record*, largest_batch> out{};
    const auto made = stock.refill(demand(bytes), std::span(out).first(batch), true);
    EXPECT_NE(made.count, 0U);
    caches.keep_rest(demand(bytes), std::span(out).first(made.count), block_source::backend, cache);
    return *out[0];
  }
  void TearDown() override {
    const std::lock_guard lock(process);
    if (front_cache* const cache = find_this_thread(caches)) {
      caches.end_thread(*cache);
    }
    (void)stock.drain_ready(true);
    EXPECT_EQ(log.handed_out, 0U);
    EXPECT_EQ(caches.capacity(), 0U);
    EXPECT_EQ(where().device->live_bytes, 0U);
  }
  static void note_end(void* context, std::uint64_t thread) noexcept {
    static_cast<ThreadCaches*>(context)->ended_threads.push_back(thread);
  }

  std::mutex& process = process_mutex();
  std::vector<std::uint64_t> ended_threads;
  thread_caches caches{{operations, all, stock},
                       {.thread_bytes = 8 * mib,
                        .total_bytes = 64 * mib,
                        .lanes = 4,
                        .gates = {.fenced = true},
                        .on_thread_end = note_end,
                        .context = this}};
};

TEST_F(ThreadCaches, AThreadIsAttachedOnceAndLeavesItsCountsBehind) {
  EXPECT_EQ(find_this_thread(caches), nullptr);
  front_cache* const cache = attach_this_thread(caches);
  ASSERT_NE(cache, nullptr);
  EXPECT_EQ(attach_this_thread(caches), cache);
  EXPECT_EQ(find_this_thread(caches), cache);
  record& slot = take(cache, 4096);
  caches.put(slot, 4096, cache);
  {
    const std::lock_guard lock(process);
    caches.end_thread(*cache);
  }
  EXPECT_EQ(ended_threads, std::vector<std::uint64_t>{this_thread_number()});
  EXPECT_EQ(find_this_thread(caches), nullptr);
  const class_counts& sum = where().counts_of(size_class_of(4096));
  EXPECT_EQ(sum.pops, 1U);
  EXPECT_EQ(sum.pushes, 1U);
  EXPECT_EQ(sum.refills, 1U);
}

TEST_F(ThreadCaches, ARefillIsKeptAndServesTheNextOnes) {
  front_cache* const cache = attach_this_thread(caches);
  const std::size_t batch = caches.take(demand(4096), cache).batch;
  EXPECT_GT(batch, 1U) << "the thread may keep some of the class now";
  record& first = take(cache, 4096);
  const std::size_t made = log.made;
  EXPECT_GT(made, 1U);
  record& second = take(cache, 4096);
  EXPECT_EQ(log.made, made) << "it was kept from the refill";
  EXPECT_NE(&first, &second);
  caches.put(second, 4096, cache);
  EXPECT_EQ(&take(cache, 4096), &second) << "the newest first";
  caches.put(second, 4096, cache);
  caches.put(first, 4096, cache);
}

TEST_F(ThreadCaches, ARefillAfterAMissOnTheWarmPathEntersOnce) {
  front_cache* const cache = attach_this_thread(caches);
  block_demand missed = demand(4096);
  missed.missed.limit = 0;
  constexpr std::uint32_t untouched = 7;  // whoever enters and leaves writes 0 here
  cache->fenced_busy = untouched;
  const auto [slot, batch] = caches.take(missed, cache);
  EXPECT_EQ(slot, nullptr);
  EXPECT_EQ(batch, 4U);
  EXPECT_EQ(cache->fenced_busy, untouched);
  EXPECT_EQ(caches.capacity(), 0U) << "its limit rises when something comes to be kept";
  std::array<record*, largest_batch> out{};
  const auto made = stock.refill(missed, std::span(out).first(batch), true);
  caches.keep_rest(missed, std::span(out).first(made.count), block_source::backend, cache);
  EXPECT_EQ(cache->fenced_busy, 0U);
  EXPECT_EQ(caches.capacity(), 8U * 4096);
  const magazine& m = cache->lane(0).magazine_of(missed.size_class);
  EXPECT_EQ(m.depth(), made.count - 1);
  EXPECT_EQ(m.limit, 8U);
  missed.missed.limit = m.limit;
  EXPECT_EQ(caches.take(missed, cache).batch, 8U) << "half of the next limit";
  caches.put(*out[0], 4096, cache);
}

TEST_F(ThreadCaches, WhatAWarmMissSawHoldsForSmallBlocksAndTheThreadsOwnCacheOnly) {
  front_cache* const cache = attach_this_thread(caches);
  block_demand large = demand(4 * mib);
  caches.put(take(cache, 4 * mib), 4 * mib, cache);
  large.missed.limit = 0;
  record* const found = caches.take(large, cache).slot;
  ASSERT_NE(found, nullptr) << "large blocks are searched, as their lengths differ";
  caches.put(*found, 4 * mib, cache);
  block_demand small = demand(4096);
  small.missed.limit = 8;
  EXPECT_EQ(caches.take(small, nullptr).batch, 1U);
}

TEST_F(ThreadCaches, AFailedAllocationIsCountedBack) {
  front_cache* const cache = attach_this_thread(caches);
  record& slot = take(cache, 4096);
  caches.uncount(slot, {4096, block_source::backend}, cache);
  stock.give_back(where(), slot);
  record& central = take(nullptr, 4096);
  caches.uncount(central, {4096, block_source::backend}, nullptr);
  stock.give_back(where(), central);
  caches.drain_own(*cache);
  const std::lock_guard lock(process);
  caches.end_thread(*cache);
  const class_counts& sum = where().counts_of(size_class_of(4096));
  EXPECT_EQ(sum.pops, 0U);
  EXPECT_EQ(sum.pushes, 0U);
  EXPECT_EQ(sum.refills, 0U);
  EXPECT_EQ(sum.requested, 0U);
}

TEST_F(ThreadCaches, CapacityStaysWithinTheThreadsBudget) {
  front_cache* const cache = attach_this_thread(caches);
  for (int round = 0; round < 20; ++round) {
    for (const std::size_t bytes : {std::size_t{64}, std::size_t{4096}, std::size_t{65536}, mib}) {
      std::vector<record*> slots;
      for (int i = 0; i < 12; ++i) {
        slots.push_back(&take(cache, bytes));
      }
      for (record* const slot : slots) {
        caches.put(*slot, bytes, cache);
      }
      ASSERT_LE(cache->small_capacity, 2 * mib) << "a quarter is for blocks up to 1 MiB";
      ASSERT_EQ(caches.capacity(), cache->small_capacity + cache->large_capacity);
    }
  }
}

TEST_F(ThreadCaches, WhileAnybodyClimbsNobodyTakesMoreThanOne) {
  front_cache* const cache = attach_this_thread(caches);
  stock.climbing = 1;
  EXPECT_EQ(caches.take(demand(4096), cache).batch, 1U);
  EXPECT_EQ(caches.capacity(), 0U);
  stock.climbing = 0;
  EXPECT_GT(caches.take(demand(4096), cache).batch, 1U);
}

TEST_F(ThreadCaches, OthersTakeBackWhatIdleThreadsKeep) {
  std::atomic<int> step{0};
  std::thread idle([&] {
    front_cache* const cache = attach_this_thread(caches);
    record& slot = take(cache, 4096);
    caches.put(slot, 4096, cache);
    step = 1;
    step.notify_one();
    step.wait(1);
  });
  step.wait(0);
  caches.drain_idle();  // it did something since the last time
  EXPECT_NE(caches.capacity(), 0U);
  caches.drain_idle();
  EXPECT_EQ(caches.capacity(), 0U);
  EXPECT_NE(where().device->ready_bytes, 0U);
  step = 2;
  step.notify_one();
  idle.join();
}

TEST_F(ThreadCaches, WhatAnotherPoolHasByNowIsNotTouched) {
  front_cache* const cache = attach_this_thread(caches);
  record& slot = take(cache, 4096);
  caches.put(slot, 4096, cache);
  thread_caches others{{operations, all, stock},
                       {.thread_bytes = 8 * mib, .lanes = 4, .gates = {}}};
  cache->owner = &others;
  EXPECT_EQ(caches.take(demand(4096), cache).slot, nullptr);
  caches.set_memo(cache, {.handle = this, .lane = 1});
  EXPECT_EQ(cache->memo.handle, nullptr);
  EXPECT_EQ(caches.flush_large(where(), cache), 0U);
  cache->owner = &caches;
  EXPECT_EQ(caches.take(demand(4096), cache).slot, &slot);
  caches.put(slot, 4096, cache);
}

TEST_F(ThreadCaches, AnObserverKeepsAllGatesClosed) {
  front_cache* const cache = attach_this_thread(caches);
  record& slot = take(cache, 4096);
  caches.list.set_observed(true);
  EXPECT_FALSE(cache->enter());
  cache->leave();
  caches.put(slot, 4096, cache);  // goes to the ready list, and is counted there
  EXPECT_EQ(where().counts_of(size_class_of(4096)).pushes, 1U);
  caches.list.set_observed(false);
  EXPECT_TRUE(cache->enter());
  cache->leave();
}

TEST_F(ThreadCaches, ALaneThatRetiresLeavesNothingInAnyCache) {
  front_cache* const cache = attach_this_thread(caches);
  caches.set_memo(cache, {.handle = this, .expected = this, .lane = 0});
  record& alive = take(cache, 4096);
  record& ended = take(cache, 4096);
  caches.put(ended, 4096, cache);
  EXPECT_EQ(caches.retire_lane(where()), 1U);
  EXPECT_EQ(caches.memo_of(cache).handle, nullptr);
  EXPECT_EQ(caches.take(demand(4096), cache).slot, nullptr);
  caches.put(alive, 4096, cache);
}

TEST_F(ThreadCaches, AChildInheritsWhatVanishedThreadsKept) {
  // As the memory of a thread that fork did not copy: no object owns it.
  alignas(address_space) static std::byte nobodys[sizeof(address_space)];
  auto* const memory =
      ::new (nobodys) address_space(address_space::reserve(front_cache::bytes_for(4)));
  ASSERT_TRUE(*memory);
  auto* const vanished = ::new (memory->data()) front_cache;
  vanished->lanes = 4;
  ASSERT_TRUE(caches.list.add(*vanished, caches));
  caches.put(take(vanished, 4096), 4096, vanished);
  EXPECT_TRUE(caches.continue_in_child(nullptr, true));
  EXPECT_NE(where().device->ready_bytes, 0U);
  EXPECT_EQ(where().counts_of(size_class_of(4096)).pushes, 1U);
}

}  // namespace
}  // namespace tidepool::detail
