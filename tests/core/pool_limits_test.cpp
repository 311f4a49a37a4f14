// SPDX-License-Identifier: Apache-2.0
//
// Limits of devices and pools, hard and soft; the reclaim handler; peaks; ticks.
#include "../support/heap_backend.hpp"
#include "support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/size_class.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

namespace tidepool::test {
namespace {

constexpr device second = device::user(1);

std::vector<std::unique_ptr<backend>> two_heaps(heap_log& log, heap_log& other) {
  std::vector<std::unique_ptr<backend>> backends;
  backends.push_back(std::make_unique<heap_backend>(log));
  backends.push_back(std::make_unique<heap_backend>(other, second));
  return backends;
}

/// A reclaim handler that keeps what it was asked and frees what the test put into `spare`.
struct giver {
  pool* from = nullptr;
  std::vector<tensor_id> spare;
  std::vector<reclaim_request> asked;
  std::vector<std::vector<tensor_id>> candidates;
  std::size_t lie = 0;  // answered without freeing anything

  static std::size_t give(const reclaim_request& request, void* context) {
    auto& self = *static_cast<giver*>(context);
    self.asked.push_back(request);
    std::vector<tensor_id>& ids = self.candidates.emplace_back();
    for (const tensor_info& info : request.candidates) {
      ids.push_back(info.id);
    }
    if (self.spare.empty()) {
      return self.lie;
    }
    const std::size_t bytes = self.from->info(self.spare.back())->capacity;
    self.from->deallocate(self.spare.back());
    self.spare.pop_back();
    return bytes;
  }
  [[nodiscard]] pool_options options(pool_options rest) {
    rest.reclaim = give;
    rest.reclaim_context = this;
    return rest;
  }
};

TEST(PoolLimits, AreSetAndReadAtAnyTime) {
  heap_log log;
  heap_log other;
  pool p(two_heaps(log, other), {.limit_bytes = 8 * mib, .total_limit_bytes = 12 * mib});
  EXPECT_EQ(p.control().limits(second).hard, 8 * mib);
  EXPECT_EQ(p.control().limits(second).soft, 8 * mib) << "no soft limit is the hard one";
  EXPECT_EQ(p.control().limits().hard, 12 * mib);
  ASSERT_TRUE(p.control().set_limits(second, {.hard = 2 * mib, .soft = mib}).has_value());
  EXPECT_EQ(p.control().limits(second).hard, 2 * mib);
  EXPECT_EQ(p.control().limits(second).soft, mib);
  EXPECT_EQ(p.control().limits(device::cpu()).hard, 8 * mib);
  EXPECT_EQ(p.try_allocate(3 * mib, second).error().code, errc::over_budget);
  EXPECT_TRUE(p.try_allocate(3 * mib).has_value());
  EXPECT_EQ(p.control().set_limits(device::cuda(3), {}).error().code, errc::unknown_device);
  EXPECT_EQ(p.control().limits(device::cuda(3)).hard, 0U);
  p.control().set_limits({.hard = 4 * mib});
  EXPECT_EQ(p.control().statistics().limit_bytes, 4 * mib);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolLimits, LoweredBelowWhatIsLiveKeepTensorsAndRefuseGrowth) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log));
  tensor kept = p.allocate(3 * mib);
  (void)p.allocate(2 * mib);  // free again: cached
  const result<trim_report> report = p.control().set_limits(device::cpu(), {.hard = mib});
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->reserved_bytes, 3 * mib);
  EXPECT_EQ(report->in_use_bytes, 3 * mib);
  EXPECT_EQ(report->released_bytes, 0U) << "the heap gave its bytes back with the recall";
  EXPECT_NE(report->kept_by, nullptr);
  EXPECT_TRUE(p.info(kept.id()).has_value());
  EXPECT_EQ(p.try_allocate(64).error().code, errc::over_budget);
  kept.reset();
  EXPECT_TRUE(p.try_allocate(512 * kib).has_value());
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolLimits, OfThePoolHoldOverAllDevicesAndRefusalsAreRolledBack) {
  heap_log log;
  heap_log other;
  pool p(two_heaps(log, other), {.total_limit_bytes = 8 * mib});
  tensor a = p.allocate(6 * mib);
  const tensor b = p.allocate(2 * mib, second);
  EXPECT_EQ(p.try_allocate(64, second).error().code, errc::over_budget);
  const statistics full = p.control().statistics();
  EXPECT_EQ(full.reserved_bytes, 8 * mib);
  EXPECT_EQ(full.devices[1].reserved_bytes, 2 * mib) << "the device's claim was taken back";
  EXPECT_EQ(p.control().verify(), nullptr);
  a.reset();  // free on one device, kept by this thread: the other one gets its room
  EXPECT_EQ(p.allocate(5 * mib, second).bytes(), 5 * mib);
  EXPECT_EQ(p.control().statistics().peak_reserved_bytes, 8 * mib);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolLimits, ASoftLimitIsPassedOnlyAfterCachesWereTakenBack) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log),
         {.limit_bytes = 8 * mib, .soft_limit_bytes = 4 * mib});
  std::vector<tensor> held;
  held.push_back(p.allocate(2 * mib));
  (void)p.allocate(mib + 64 * kib);
  EXPECT_EQ(p.control().statistics().recalls, 0U) << "below the soft limit nothing is recalled";
  held.push_back(p.allocate(2 * mib));
  EXPECT_EQ(p.control().statistics().devices[0].reserved_bytes, 4 * mib)
      << "the free block made room";
  held.push_back(p.allocate(3 * mib));
  EXPECT_GE(p.control().statistics().recalls, 1U);
  EXPECT_EQ(p.control().statistics().devices[0].reserved_bytes, 7 * mib);
  const pool_report report = p.control().report();
  EXPECT_TRUE(std::any_of(report.events.begin(), report.events.end(), [](const memory_event& e) {
    return e.kind == memory_event_kind::soft_limit_passed && e.bytes == 3 * mib;
  }));
  EXPECT_EQ(p.try_allocate(2 * mib).error().code, errc::over_budget);
  EXPECT_EQ(p.control().limits(device::cpu()).soft, 4 * mib);
}

TEST(PoolReclaim, IsAskedBeforeASoftLimitIsPassedAndTheAllocationSucceedsAnyway) {
  heap_log log;
  giver handler;
  pool p(std::make_unique<heap_backend>(log),
         handler.options({.limit_bytes = 8 * mib, .soft_limit_bytes = 2 * mib}));
  handler.from = &p;
  const tensor a = p.allocate(2 * mib);
  const tensor b = p.allocate(mib);
  ASSERT_EQ(handler.asked.size(), 1U);
  EXPECT_EQ(handler.asked[0].why, pressure::soft_limit);
  EXPECT_EQ(handler.asked[0].bytes, mib);
  EXPECT_EQ(handler.asked[0].where, device::cpu());
}

TEST(PoolReclaim, FreesUntilTheAllocationFits) {
  heap_log log;
  giver handler;
  pool p(std::make_unique<heap_backend>(log), handler.options({.limit_bytes = 8 * mib}));
  handler.from = &p;
  for (int i = 0; i < 8; ++i) {
    handler.spare.push_back(p.allocate(mib).release());
  }
  const tensor made = p.allocate(3 * mib);
  EXPECT_EQ(handler.asked.size(), 3U);
  EXPECT_EQ(handler.spare.size(), 5U);
  for (unsigned i = 0; i < handler.asked.size(); ++i) {
    EXPECT_EQ(handler.asked[i].round, i);
    EXPECT_EQ(handler.asked[i].why, pressure::hard_limit);
  }
  EXPECT_EQ(p.control().statistics().failures, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
  for (const tensor_id id : handler.spare) {
    p.deallocate(id);
  }
}

TEST(PoolReclaim, EndsWhenTheHandlerHasNothingAndWhenItLies) {
  for (const std::size_t lie : {std::size_t{0}, std::size_t{1}}) {
    heap_log log;
    giver handler;
    handler.lie = lie;
    pool p(std::make_unique<heap_backend>(log), handler.options({.limit_bytes = mib}));
    handler.from = &p;
    EXPECT_EQ(p.try_allocate(2 * mib).error().code, errc::over_budget);
    EXPECT_EQ(handler.asked.size(), lie == 0 ? 1U : 32U);
  }
}

TEST(PoolReclaim, IsToldWhenTheDeviceHasNoMore) {
  heap_log log;
  giver handler;
  pool p(std::make_unique<heap_backend>(log), handler.options({}));
  handler.from = &p;
  log.left = 0;
  EXPECT_EQ(p.try_allocate(kib).error().code, errc::out_of_memory);
  ASSERT_EQ(handler.asked.size(), 1U);
  EXPECT_EQ(handler.asked[0].why, pressure::exhausted);
}

TEST(PoolReclaim, CandidatesAreTheCheapestToGiveUpFirst) {
  heap_log log;
  heap_log other;
  giver handler;
  pool p(two_heaps(log, other), handler.options({.limit_bytes = 16 * mib}));
  handler.from = &p;
  const category cheap = p.register_category("cheap", 1);
  const category dear = p.register_category("dear", 200);
  const category never = p.register_category("never", 255);
  const auto make = [&](std::size_t bytes, category what, lifecycle state) {
    return p.allocate(bytes, {}, {.category = what, .lifecycle = state});
  };
  const tensor last = make(900 * kib, dear, lifecycle::persistent);
  const tensor small = make(100 * kib, cheap, lifecycle::persistent);
  const tensor large = make(800 * kib, cheap, lifecycle::persistent);
  const tensor asleep = make(50 * kib, cheap, lifecycle::inactive);
  const tensor kept = make(mib, never, lifecycle::persistent);
  const tensor pinned = make(mib, cheap, lifecycle::persistent);
  ASSERT_TRUE(p.pin(pinned.id()).has_value());
  const tensor shared = make(mib, cheap, lifecycle::persistent);
  const result<tensor> twin = p.share(shared);
  const result<tensor> part = p.slice(last, 0, 1000);  // its parent is shared with it now
  const tensor elsewhere = p.allocate(mib, second, {.category = cheap});
  const tensor lone = make(700 * kib, dear, lifecycle::persistent);
  EXPECT_FALSE(p.try_allocate(64 * mib).has_value());
  ASSERT_EQ(handler.candidates.size(), 1U);
  EXPECT_EQ(handler.candidates[0],
            (std::vector<tensor_id>{asleep.id(), large.id(), small.id(), lone.id()}));
  EXPECT_EQ(p.unpin(pinned.id()), errc::ok);
}

TEST(PoolReclaim, OffersTheBest64OfMany) {
  heap_log log;
  giver handler;
  pool p(std::make_unique<heap_backend>(log), handler.options({.limit_bytes = 64 * mib}));
  handler.from = &p;
  std::vector<tensor> held;
  for (std::size_t i = 1; i <= 200; ++i) {
    held.push_back(p.allocate(i * 1000, {}, {.category = category::weight}));
  }
  EXPECT_FALSE(p.try_allocate(std::size_t{1} << 30).has_value());
  ASSERT_EQ(handler.candidates[0].size(), 64U);
  std::size_t before = SIZE_MAX;
  for (const tensor_id id : handler.candidates[0]) {
    const std::size_t capacity = p.info(id)->capacity;
    EXPECT_LE(capacity, before);
    EXPECT_GE(capacity, p.info(held[200 - 64].id())->capacity);
    before = capacity;
  }
}

struct nested {
  pool* from = nullptr;
  int calls = 0;
  errc seen = errc::ok;
  static std::size_t call(const reclaim_request&, void* context) {
    auto& self = *static_cast<nested*>(context);
    ++self.calls;
    // No lock is held: everything may be called, and what fails in here does not come back here.
    (void)self.from->control().statistics();
    (void)self.from->control().report();
    self.from->control().trim();
    self.seen = self.from->try_allocate(16 * mib).error().code;
    return 0;
  }
};

TEST(PoolReclaim, MayUseThePoolAndIsNotCalledFromItself) {
  heap_log log;
  nested handler;
  pool p(std::make_unique<heap_backend>(log),
         {.limit_bytes = 8 * mib, .reclaim = nested::call, .reclaim_context = &handler});
  handler.from = &p;
  EXPECT_FALSE(p.try_allocate(16 * mib).has_value());
  EXPECT_EQ(handler.calls, 1);
  EXPECT_EQ(handler.seen, errc::over_budget);
  EXPECT_EQ(p.control().statistics().failures, 2U);
}

TEST(PoolPeaks, CountFromTheLastReset) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log));
  (void)p.allocate(4 * mib);
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
  EXPECT_EQ(p.control().statistics().devices[0].peak_reserved_bytes, 4 * mib);
  p.control().reset_peaks();
  EXPECT_EQ(p.control().statistics().devices[0].peak_reserved_bytes, 0U);
  EXPECT_EQ(p.control().statistics().peak_reserved_bytes, 0U);
  EXPECT_EQ(p.control().statistics().devices[0].peak_live_bytes, 0U);
  const tensor a = p.allocate(2 * mib);
  EXPECT_EQ(p.control().statistics().devices[0].peak_reserved_bytes, 2 * mib);
  EXPECT_EQ(p.control().statistics().devices[0].peak_live_bytes, 2 * mib);
}

TEST(PoolTick, TakesBackWhatIdleThreadsKeepAndLeavesBusyOnesAlone) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log));
  const idle_thread idle([&] { (void)p.allocate(3 * mib); });
  (void)p.allocate(5 * mib);
  EXPECT_EQ(p.control().statistics().devices[0].reserved_bytes, 8 * mib);
  p.control().tick();  // notes what each did
  EXPECT_EQ(p.control().statistics().devices[0].reserved_bytes, 8 * mib);
  (void)p.allocate(5 * mib);
  p.control().tick();
  EXPECT_EQ(p.control().statistics().devices[0].reserved_bytes, 5 * mib)
      << "the idle thread's went";
  p.control().tick();
  EXPECT_EQ(p.control().statistics().devices[0].reserved_bytes, 0U)
      << "now this thread was idle too";
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolTrim, SaysWhatKeptTheRest) {
  pool p(small_cpu());
  std::vector<tensor> held;
  for (int i = 0; i < 2000; ++i) {
    held.push_back(p.allocate(1000 + static_cast<std::size_t>(i % 7) * 3000));
  }
  for (std::size_t i = 0; i < held.size(); i += 2) {
    held[i].reset();
  }
  const trim_report some = p.control().trim();
  EXPECT_EQ(some.reserved_bytes,
            some.in_use_bytes + some.pending_bytes + some.cached_bytes + some.stranded_bytes);
  EXPECT_NE(some.kept_by, nullptr);
  EXPECT_EQ(some.cached_bytes, 0U);
  EXPECT_EQ(p.control().trim(SIZE_MAX).kept_by, nullptr) << "that much was to be kept";
  held.clear();
  const trim_report none = p.control().trim();
  EXPECT_EQ(none.reserved_bytes, 0U);
  EXPECT_EQ(none.kept_by, nullptr);
}

TEST(PoolTrim, OfSeveralDevicesIsJudgedOnEachAlone) {
  heap_log log;
  heap_log other;
  pool p(two_heaps(log, other));
  const tensor a = p.allocate(mib);
  const tensor b = p.allocate(mib, second);
  EXPECT_EQ(p.control().trim(SIZE_MAX / 2 + 1).kept_by, nullptr) << "twice that is no small number";
  const trim_report none = p.control().trim();
  EXPECT_EQ(none.in_use_bytes, 2 * mib);
  EXPECT_NE(none.kept_by, nullptr);
}

/// What a tensor of `bytes` takes from the exact heap.
[[nodiscard]] std::size_t block_bytes(std::size_t bytes) {
  const std::size_t rounded = (bytes + 63) / 64 * 64;
  return rounded <= mib ? size_of_class(size_class_of(rounded)) : rounded;
}

// Limit hit with idle threads holding caches: the allocation succeeds whenever the sum fits.
TEST(PoolLimitsProperty, WhatFitsBesideTheLiveTensorsIsAllocated) {
  constexpr std::size_t limit = 16 * mib;
  for (const unsigned seed : {1U, 2U, 3U, 4U, 5U, 6U}) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    heap_log log;
    pool p(std::make_unique<heap_backend>(log), {.limit_bytes = limit});
    std::deque<idle_thread> idle;
    for (int t = 0; t < 3; ++t) {
      idle.emplace_back([&] {
        for (int i = 0; i < 40; ++i) {
          (void)p.try_allocate(1 + random() % (800 * kib));
        }
      });
    }
    std::vector<tensor> held;
    std::size_t live = 0;
    unsigned refused = 0;
    for (int step = 0; step < 3000; ++step) {
      if (!held.empty() && random() % 5 < 2) {
        std::swap(held[random() % held.size()], held.back());
        live -= p.info(held.back().id())->capacity;
        held.pop_back();
        continue;
      }
      const std::size_t bytes = 1 + random() % (random() % 4 == 0 ? 3 * mib : 200 * kib);
      const std::size_t needed = block_bytes(bytes);
      result<tensor> made = p.try_allocate(bytes);
      if (live + needed <= limit) {
        ASSERT_TRUE(made.has_value()) << "step " << step << ": " << bytes << " beside " << live;
      }
      if (made) {
        live += p.info(made->id())->capacity;  // a reused block may be longer than needed
        held.push_back(std::move(*made));
      } else {
        ASSERT_EQ(made.error().code, errc::over_budget);
        ++refused;
      }
      ASSERT_LE(p.control().statistics().devices[0].reserved_bytes, limit);
    }
    EXPECT_GT(refused, 0U) << "the limit was never felt";
    EXPECT_EQ(p.control().verify(), nullptr);
  }
}

}  // namespace
}  // namespace tidepool::test
