// SPDX-License-Identifier: Apache-2.0
//
// Many pools at once, pools that end before their tensors, threads that end before their tensors,
// and the end of the process.
#include "../support/heap_backend.hpp"
#include "support.hpp"
#include <tidepool/access_tracker.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <random>
#include <thread>
#include <type_traits>

namespace tidepool::test {
namespace {

TEST(PoolLifetime, TensorsOutliveTheirPool) {
  heap_log log;
  std::vector<tensor> held;
  tensor part;
  {
    pool p(std::make_unique<heap_backend>(log));
    for (std::size_t bytes : {std::size_t{0}, std::size_t{64}, std::size_t{100000}, 3 * mib}) {
      held.push_back(p.allocate(bytes));
      std::memset(held.back().data() == nullptr ? &bytes : held.back().data(), 0,
                  bytes == 0 ? 1 : bytes);
    }
    held.push_back(p.allocate(10, {}, {.category = category::weight, .key = 1}));
    part = std::move(*p.slice(held[2], 5, 5));
    for (int i = 0; i < 100; ++i) {
      p.allocate(1000).reset();  // what is cached goes with the pool
    }
  }
  EXPECT_EQ(log.handed_out.load(), 4U);
  for (const tensor& t : held) {
    if (t.bytes() != 0) {
      byte_of(t, t.bytes() - 1) = 7;
    }
    EXPECT_EQ(t.where(), device::cpu());
  }
  std::shuffle(held.begin(), held.end(), std::mt19937(1));
  std::thread([&] { held.clear(); }).join();
  EXPECT_EQ(log.handed_out.load(), 1U);
  byte_of(part, 4) = 1;
  part.reset();
  EXPECT_EQ(log.handed_out.load(), 0U);
  EXPECT_EQ(log.wrong_returns.load(), 0U);
}

static_assert(std::is_trivially_copyable_v<access_tracker>);
static_assert(std::is_trivially_copyable_v<pool_control>);
static_assert(sizeof(access_tracker) == sizeof(void*) && sizeof(pool_control) == sizeof(void*));

TEST(PoolLifetime, HandlesAreThePoolsWhereverItMoves) {
  heap_log log;
  pool made_here(std::make_unique<heap_backend>(log));
  pool_control control = made_here.control();
  const access_tracker accesses = made_here.accesses();
  pool p = std::move(made_here);
  const tensor t = p.allocate(100, {}, {.category = category::weight});
  EXPECT_EQ(control.statistics().total.live, 1U);
  EXPECT_TRUE(accesses.info(t.id()).has_value());
  control.set_limits({.hard = mib});
  const pool& unchanged = p;
  EXPECT_EQ(unchanged.control().limits().hard, mib);
  EXPECT_EQ(unchanged.accesses().info(t.id())->count, accesses.info(t.id())->count);
}

TEST(PoolLifetime, CloseCountsAndFreesGoOn) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log));
  std::vector<tensor> held;
  for (int i = 0; i < 10; ++i) {
    held.push_back(p.allocate(100));
  }
  EXPECT_EQ(p.close(), 10U);
  EXPECT_EQ(log.handed_out.load(), 10U);
  held.resize(4);
  EXPECT_EQ(log.handed_out.load(), 4U);
  EXPECT_EQ(p.close(), 4U);
  EXPECT_EQ(p.control().statistics().total.live, 4U);
  EXPECT_EQ(p.control().verify(), nullptr);
  held.clear();
  EXPECT_EQ(p.close(), 0U);
  EXPECT_EQ(p.control().statistics().total.frees, 10U);
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
}

TEST(PoolLifetime, PoolsMove) {
  heap_log log;
  pool a(std::make_unique<heap_backend>(log));
  tensor t = a.allocate(100);
  pool b = std::move(a);
  tensor u = b.allocate(100);
  EXPECT_EQ(b.control().statistics().total.live, 2U);
  b = pool(std::make_unique<heap_backend>(log));
  EXPECT_EQ(b.control().statistics().total.live, 0U);
  t.reset();
  u.reset();
  EXPECT_EQ(log.handed_out.load(), 0U);
  std::vector<pool> grown;
  std::vector<tensor> held;
  for (int i = 0; i < 20; ++i) {
    grown.emplace_back(std::make_unique<heap_backend>(log));
    held.push_back(grown.back().allocate(64));
  }
  grown.clear();
  held.clear();
  EXPECT_EQ(log.handed_out.load(), 0U);
}

TEST(PoolLifetime, SixtyThreePoolsAtOnceAndNotOneMore) {
  std::vector<heap_log> logs(63);
  std::vector<pool> pools;
  std::vector<std::vector<tensor>> held(63);
  for (std::size_t i = 0; i < 63; ++i) {
    pools.emplace_back(std::make_unique<heap_backend>(logs[i]), pool_options{.max_tensors = 4096});
  }
  std::vector<std::unique_ptr<backend>> one_more;
  one_more.push_back(small_cpu());
  EXPECT_EQ(pool::try_create(std::move(one_more)).error().code, errc::too_many);
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 4000; ++i) {
      const std::size_t which = random() % 63;
      tensor t = pools[which].allocate(random() % 3000);
      tensor u = pools[which].allocate(random() % 3000);
      if (t.bytes() != 0 && u.bytes() != 0) {
        byte_of(t, t.bytes() - 1) = 1;
        byte_of(u, 0) = 2;
        ASSERT_EQ(byte_of(t, t.bytes() - 1), 1);
      }
    }
  };
  std::thread other(work, 1);
  work(2);
  other.join();
  for (std::size_t i = 0; i < 63; ++i) {
    const statistics s = pools[i].control().statistics();
    EXPECT_EQ(s.total.live, 0U);
    EXPECT_GT(s.total.front_hits, 0U) << i;  // beyond 15 pools too: slower, but from the thread
    EXPECT_EQ(pools[i].control().verify(), nullptr);
    for (int k = 0; k < 5; ++k) {
      held[i].push_back(pools[i].allocate(500));
    }
  }
  // Pools and tensors end in any order.
  std::mt19937 random(3);
  std::shuffle(held.begin(), held.begin() + 30, random);
  for (std::size_t i = 0; i < 30; ++i) {
    held[i].clear();
  }
  std::vector<pool> shuffled;
  while (!pools.empty()) {
    std::swap(pools[random() % pools.size()], pools.back());
    pools.pop_back();
    if (pools.size() % 7 == 0) {
      held[30 + random() % 33].clear();
    }
  }
  // Tags come back with the last tensor.
  held.clear();
  for (const heap_log& log : logs) {
    EXPECT_EQ(log.handed_out.load(), 0U);
    EXPECT_EQ(log.wrong_returns.load(), 0U);
  }
  EXPECT_NE(pool(small_cpu()).allocate(64).data(), nullptr);
}

TEST(PoolLifetime, AThreadMayEndBeforeItsTensors) {
  pool p(small_cpu());
  std::vector<tensor> held;
  std::thread([&] {
    for (std::size_t i = 0; i < 500; ++i) {
      held.push_back(p.allocate(i * 13));
    }
    held.resize(300);
  }).join();
  EXPECT_EQ(p.control().statistics().threads, 0U);
  EXPECT_EQ(p.control().statistics().total.live, 300U);
  held.clear();
  EXPECT_EQ(p.control().statistics().total.live, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
}

TEST(PoolLifetime, ThreadLocalsMayUseThePoolAfterTheThreadsCacheEnded) {
  static pool* in_thread = nullptr;
  pool p(small_cpu());
  in_thread = &p;
  struct late {
    std::optional<tensor> held;
    ~late() {
      held.reset();
      // The thread's cache is gone: everything still works, nothing is kept.
      const tensor one = in_thread->allocate(100);
      const tensor two = in_thread->allocate(0, {}, {.key = 9});
      EXPECT_NE(one.data(), nullptr);
      in_thread->control().thread_idle();
      EXPECT_EQ(in_thread->control().statistics().threads, 0U);
    }
  };
  std::thread([&] {
    thread_local late first;  // made before the pool's own thread-local state, so it ends after it
    first.held.emplace();
    *first.held = p.allocate(1000);
    for (int i = 0; i < 100; ++i) {
      p.allocate(64).reset();
    }
  }).join();
  const statistics s = p.control().statistics();
  EXPECT_EQ(s.total.live, 0U);
  EXPECT_EQ(s.total.allocations, 102U);
  EXPECT_EQ(s.threads, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolLifetime, AThreadsCacheIsUsedAgainByItsNextPool) {
  for (int i = 0; i < 200; ++i) {
    pool p(small_cpu(), {.max_tensors = 4096});
    const tensor a = p.allocate(100);
    p.allocate(100).reset();
    EXPECT_EQ(p.control().statistics().threads, 1U);
    EXPECT_EQ(p.control().statistics().total.live, 1U);
    EXPECT_EQ(p.control().verify(), nullptr);
  }
}

// In a process of its own: statics are destroyed in it.
[[noreturn]] void end_with_statics(bool pool_first) {
  struct statics {
    static std::vector<tensor>& tensors() {
      static std::vector<tensor> all;
      return all;
    }
    static pool& memory() {
      static pool p(small_cpu());
      return p;
    }
  };
  if (pool_first) {
    (void)statics::memory();
    (void)statics::tensors();
  } else {
    (void)statics::tensors();  // destroyed after the pool
    (void)statics::memory();
  }
  for (std::size_t i = 0; i < 100; ++i) {
    statics::tensors().push_back(statics::memory().allocate(i * 1000));
  }
  statics::tensors().resize(50);
  std::exit(0);
}

TEST(PoolLifetimeDeathTest, StaticsEndInAnyOrder) {
  EXPECT_EXIT(end_with_statics(true), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(end_with_statics(false), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace tidepool::test
