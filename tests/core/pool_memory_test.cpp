// SPDX-License-Identifier: Apache-2.0
//
// What a pool holds: nothing unasked, limits that only bind when everything is in use, trim,
// prewarm, threads that keep nothing.
#include "../support/heap_backend.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

#include <latch>
#include <thread>

namespace tidepool::test {
namespace {

TEST(PoolMemory, ANewPoolHoldsNothing) {
  pool p(small_cpu());
  const statistics s = p.control().statistics();
  EXPECT_EQ(s.devices[0].reserved_bytes, 0U);
  EXPECT_EQ(s.devices[0].peak_reserved_bytes, 0U);
  EXPECT_EQ(s.threads, 0U);
  EXPECT_EQ(p.control().memory(device::cpu()).reserved_bytes, 0U);
  EXPECT_EQ(p.control().memory(device::cuda(0)).reserved_bytes, 0U);
  EXPECT_EQ(p.control().trim().released_bytes, 0U);
  EXPECT_EQ(p.control().trim(device::cuda(0), 0).reserved_bytes, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolTrim, GivesAllBackOnceAllIsFree) {
  pool p(small_cpu());
  std::vector<tensor> held;
  for (std::size_t bytes = 1; bytes < 20 * mib; bytes = bytes * 3 / 2 + 1) {
    held.push_back(p.allocate(bytes));
    std::memset(held.back().data(), 1, bytes);
  }
  const trim_report busy = p.control().trim();
  EXPECT_GE(busy.reserved_bytes, p.control().statistics().total.requested_bytes);
  EXPECT_GE(busy.in_use_bytes, p.control().statistics().total.requested_bytes);
  held.clear();
  const std::size_t before = p.control().statistics().devices[0].reserved_bytes;
  const trim_report done = p.control().trim();
  EXPECT_EQ(done.reserved_bytes, 0U);
  EXPECT_EQ(done.in_use_bytes, 0U);
  EXPECT_EQ(done.released_bytes, before);
  const device_statistics d = p.control().statistics().devices[0];
  EXPECT_EQ(d.reserved_bytes, 0U);
  EXPECT_EQ(d.cached_bytes, 0U);
  EXPECT_EQ(d.peak_reserved_bytes, before);
  EXPECT_EQ(p.control().verify(), nullptr);
  EXPECT_NE(p.allocate(100).data(), nullptr);
}

TEST(PoolTrim, KeepsWhatItIsToldToKeep) {
  pool p(small_cpu());
  std::vector<tensor> held;
  for (int i = 0; i < 16; ++i) {
    held.push_back(p.allocate(mib + 64));
    std::memset(held.back().data(), 1, held.back().bytes());
  }
  held.resize(8);
  EXPECT_EQ(p.control().trim(SIZE_MAX).released_bytes, 0U);
  const trim_report some = p.control().trim(device::cpu(), 12 * mib);
  EXPECT_LE(some.reserved_bytes, 12 * mib);
  EXPECT_GE(some.reserved_bytes, 8 * mib);
  for (tensor& t : held) {
    EXPECT_EQ(byte_of(t, mib), 1);
  }
}

TEST(PoolTrim, ReachesBlocksOfIdleThreads) {
  pool p(small_cpu());
  std::latch warmed(3);
  std::latch done(1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        const tensor a = p.allocate(5000);
        const tensor b = p.allocate(2 * mib);
      }
      warmed.count_down();
      done.wait();
    });
  }
  warmed.wait();
  EXPECT_EQ(p.control().statistics().threads, 3U);
  EXPECT_GT(p.control().statistics().devices[0].cached_bytes, 3 * 2 * mib);
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
  done.count_down();
  for (std::thread& t : threads) {
    t.join();
  }
  EXPECT_EQ(p.control().statistics().threads, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolLimit, IsOnlyReachedWhenLiveTensorsFillIt) {
  // The sum fits as long as the exact heap says so, whatever idle threads keep.
  heap_log log;
  constexpr std::size_t limit = 8 * mib;
  pool p(std::make_unique<heap_backend>(log), {.limit_bytes = limit});
  std::latch warmed(2);
  std::latch done(1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      {
        std::vector<tensor> held;
        for (int i = 0; i < 30; ++i) {
          held.push_back(p.allocate(100 * kib));
        }
      }
      warmed.count_down();
      done.wait();
    });
  }
  warmed.wait();
  EXPECT_GT(p.control().statistics().devices[0].cached_bytes, mib);
  std::vector<tensor> held;
  for (std::size_t i = 0; i < limit / (256 * kib); ++i) {
    held.push_back(p.allocate(256 * kib));  // throws if idle threads keep what is needed
  }
  const statistics full = p.control().statistics();
  EXPECT_EQ(full.devices[0].reserved_bytes, limit);
  EXPECT_EQ(full.devices[0].limit_bytes, limit);
  EXPECT_GE(full.recalls, 1U);
  EXPECT_EQ(p.try_allocate(64).error().code, errc::over_budget);
  try {
    (void)p.allocate(1000);
    FAIL() << "the limit is reached";
  } catch (const out_of_memory& e) {
    EXPECT_EQ(e.requested(), 1000U);
    EXPECT_EQ(e.limit(), limit);
    EXPECT_EQ(e.reserved(), limit);
    EXPECT_EQ(e.device(), device::cpu());
    EXPECT_EQ(e.why().code, errc::over_budget);
  }
  EXPECT_EQ(p.control().statistics().failures, full.failures + 2);
  held.pop_back();
  EXPECT_NE(p.allocate(200 * kib).data(), nullptr);
  EXPECT_NE(p.allocate(0).id(), tensor_id{});
  held.clear();
  EXPECT_EQ(p.allocate(limit).bytes(), limit);  // one block of all of it
  EXPECT_EQ(p.control().statistics().devices[0].peak_reserved_bytes, limit);
  done.count_down();
  for (std::thread& t : threads) {
    t.join();
  }
  EXPECT_EQ(p.control().verify(), nullptr);
  EXPECT_EQ(log.wrong_returns.load(), 0U);
}

TEST(PoolLimit, OfTheCpuBackendHoldsTooForEveryMixOfSizes) {
  constexpr std::size_t limit = 32 * mib;
  pool p(small_cpu(), {.limit_bytes = limit});
  std::size_t bytes = 64;
  for (int round = 0; round < 60; ++round) {
    std::vector<tensor> held;
    for (;;) {
      bytes = (bytes * 7 + 4097) % (round % 2 == 0 ? 100000 : 6 * mib) + 1;
      result<tensor> made = p.try_allocate(bytes);
      if (!made) {
        EXPECT_EQ(made.error().code, errc::over_budget);
        break;
      }
      held.push_back(std::move(*made));
    }
    std::size_t requested = 0;
    for (const tensor& t : held) {
      requested += t.bytes();
    }
    EXPECT_GE(requested + bytes, limit / 2) << "round " << round;
    ASSERT_EQ(p.control().verify(), nullptr);
  }
  EXPECT_LE(p.control().statistics().devices[0].peak_reserved_bytes, limit);
}

TEST(PoolFaults, EveryRefusedBlockLeavesThePoolWhole) {
  // The n-th block is refused, for every n: the caller sees an error or does not, nothing is lost.
  for (std::int64_t n = 0; n < 40; ++n) {
    heap_log log;
    {
      pool p(std::make_unique<heap_backend>(log));
      log.left = n;
      std::vector<tensor> held;
      for (std::size_t i = 0; i < 60; ++i) {
        result<tensor> made = p.try_allocate(i * 97 * (i % 5 == 0 ? 1000 : 1) + 1);
        if (made) {
          held.push_back(std::move(*made));
        } else {
          EXPECT_EQ(made.error().code, errc::out_of_memory);
        }
        if (i % 3 == 0 && !held.empty()) {
          held.erase(held.begin());
        }
      }
      EXPECT_EQ(p.control().verify(), nullptr) << n;
      EXPECT_EQ(p.control().statistics().total.live, held.size());
      log.left = INT64_MAX;
      EXPECT_TRUE(p.try_allocate(100000).has_value());
    }
    EXPECT_EQ(log.handed_out.load(), 0U) << n;
    EXPECT_EQ(log.wrong_returns.load(), 0U) << n;
  }
}

TEST(PoolPrewarm, MakesBlocksReadyAndPopulated) {
  pool p(small_cpu());
  const prewarm_plan plan{.items = {{4 * kib, 100}, {100 * kib, 20}, {2 * mib, 4}}, .threads = 2};
  const prewarm_report report = p.control().prewarm(plan);
  EXPECT_EQ(report.blocks, 124U);
  EXPECT_EQ(report.bytes, plan.total_bytes());
  EXPECT_GT(report.populated_bytes, 0U);
  const statistics warm = p.control().statistics();
  EXPECT_EQ(warm.total.allocations, 0U);
  EXPECT_GE(warm.devices[0].cached_bytes, plan.total_bytes());
  EXPECT_EQ(p.control().prewarm(plan).blocks, 0U);  // ready already
  std::vector<tensor> held;
  for (const prewarm_item& item : plan.items) {
    for (std::size_t i = 0; i < item.count; ++i) {
      held.push_back(p.allocate(item.bytes));
    }
  }
  const statistics after = p.control().statistics().since(warm);
  EXPECT_EQ(after.total.refills, 0U);
  EXPECT_EQ(after.devices[0].system_calls, 0U);
  EXPECT_DOUBLE_EQ(after.total.hit_rate(), 1.0);
  EXPECT_EQ(p.control().verify(), nullptr);
  held.clear();
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
}

TEST(PoolPrewarm, ServesOtherThreads) {
  pool p(small_cpu());
  (void)p.control().prewarm({.items = {{1000, 64}}, .populate = false});
  std::thread([&] {
    std::vector<tensor> held;
    for (int i = 0; i < 64; ++i) {
      held.push_back(p.allocate(1000));
    }
  }).join();
  EXPECT_EQ(p.control().statistics().total.refills, 0U);
}

TEST(PoolPrewarm, AFailedOneKeepsNoMoreThanItMade) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log), {.thread_cache_bytes = 0, .ready_bytes = 0});
  log.left = 5;
  EXPECT_THROW((void)p.control().prewarm({.items = {{64 * kib, 100}}, .populate = false}),
               out_of_memory);
  EXPECT_EQ(log.handed_out.load(), 5U) << "what was made stays ready";
  log.left = INT64_MAX;
  std::vector<tensor> held;
  for (int i = 0; i < 20; ++i) {
    held.push_back(p.allocate(64 * kib));
  }
  held.clear();
  EXPECT_EQ(log.handed_out.load(), 5U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolPrewarm, RefusesWhatCannotBe) {
  pool p(small_cpu(), {.limit_bytes = 8 * mib});
  EXPECT_THROW((void)p.control().prewarm({.items = {{SIZE_MAX, 1}}}), out_of_memory);
  EXPECT_THROW((void)p.control().prewarm({.items = {{64, 1}}, .where = device::cuda(0)}), error);
  EXPECT_EQ(p.control().prewarm({}).blocks, 0U);
  EXPECT_EQ(p.control().prewarm({.items = {{0, 5}, {5, 0}}}).blocks, 0U);
  EXPECT_THROW((void)p.control().prewarm({.items = {{mib, 100}}, .populate = false}),
               out_of_memory);
  const statistics s = p.control().statistics();
  EXPECT_LE(s.devices[0].reserved_bytes, 8 * mib);
  EXPECT_GE(s.devices[0].cached_bytes, 4 * mib);  // made before the failure: ready
  EXPECT_EQ(p.control().verify(), nullptr);
  (void)p.close();
  EXPECT_THROW((void)p.control().prewarm({.items = {{64, 1}}}), error);
}

TEST(PoolCaches, OfNoBytesKeepNothingInThreads) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log), {.thread_cache_bytes = 0, .ready_bytes = 0});
  for (std::size_t bytes : {std::size_t{64}, std::size_t{100000}, 2 * mib}) {
    p.allocate(bytes).reset();
    EXPECT_EQ(log.handed_out.load(), 0U);
  }
  const statistics s = p.control().statistics();
  EXPECT_EQ(s.threads, 0U);
  EXPECT_EQ(s.total.front_hits, 0U);
  EXPECT_EQ(s.total.allocations, 3U);
  EXPECT_EQ(s.total.frees, 3U);
  EXPECT_EQ(s.devices[0].cached_bytes, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolCaches, StayWithinTheirBounds) {
  constexpr std::size_t bound = 4 * mib;
  pool p(small_cpu(), {.thread_cache_bytes = bound, .total_cache_bytes = bound, .ready_bytes = 0});
  std::vector<tensor> held;
  for (int i = 0; i < 400; ++i) {
    held.push_back(p.allocate(static_cast<std::size_t>(i % 40 + 1) * 16 * kib));
  }
  held.clear();
  EXPECT_LE(p.control().statistics().devices[0].cached_bytes, bound);
  EXPECT_EQ(p.control().verify(), nullptr);
  p.control().thread_idle();
  EXPECT_EQ(p.control().verify(), nullptr);
  // thread_idle leaves nothing in this thread, so nothing is cached without ready_bytes.
  EXPECT_EQ(p.control().statistics().devices[0].cached_bytes, 0U);
}

// A trace found it: sizes of an earlier phase kept the capacity, and those in use had one block.
TEST(PoolCaches, CapacityFollowsTheSizesInUse) {
  pool p(small_cpu(), {.thread_cache_bytes = 88 * mib});  // 66 of them for blocks above 1 MiB
  const auto come_and_go = [&](std::size_t bytes, int times) {
    for (int i = 0; i < times; ++i) {
      std::array<tensor, 4> together;
      for (tensor& one : together) {
        one = p.allocate(bytes);
      }
    }
  };
  come_and_go(16 * mib, 20);
  come_and_go(3 * mib / 2, 20);
  const statistics before = p.control().statistics();
  come_and_go(3 * mib / 2, 50);
  EXPECT_EQ(p.control().statistics().since(before).total.refills, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolTick, GivesBackWhatStayedFree) {
  pool p(small_cpu(), {.thread_cache_bytes = 0});
  {
    const tensor a = p.allocate(20 * mib);
    std::memset(a.data(), 1, a.bytes());
  }
  for (int i = 0; i < 64; ++i) {
    p.control().tick();
  }
  EXPECT_EQ(p.control().statistics().devices[0].reserved_bytes, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

}  // namespace
}  // namespace tidepool::test
