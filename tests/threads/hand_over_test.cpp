// SPDX-License-Identifier: Apache-2.0
//
// Tensors that are freed by other threads than those that allocated them; threads that come and go.
#include "support.hpp"

namespace tidepool::test {
namespace {

/// A bounded queue.
class ring {
 public:
  [[nodiscard]] bool put(marked& what) {
    const std::lock_guard lock(mutex_);
    if (count_ == slots_.size()) {
      return false;
    }
    slots_[(first_ + count_++) % slots_.size()] = std::move(what);
    return true;
  }
  [[nodiscard]] bool take(marked& what) {
    const std::lock_guard lock(mutex_);
    if (count_ == 0) {
      return false;
    }
    what = std::move(slots_[first_]);
    first_ = (first_ + 1) % slots_.size();
    --count_;
    return true;
  }

 private:
  std::mutex mutex_;
  std::array<marked, 64> slots_;
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

TEST(HandOver, AroundARingOfProducersAndConsumers) {
  pool p(small_cpu());
  constexpr int n = 4;
  std::array<ring, n> rings;
  std::atomic<int> producing{n};
  std::atomic<std::uint64_t> blocks{0};
  const int steps = 8000 * effort();
  in_threads(n, [&](int t) {
    std::mt19937 random(static_cast<unsigned>(t));
    const auto me = static_cast<std::size_t>(t);
    const auto eat = [&] {
      marked got;
      while (rings[me].take(got)) {
        EXPECT_TRUE(got.intact());
        got.held.reset();
      }
    };
    for (int i = 0; i < steps; ++i) {
      marked made(p.allocate(some_size(random)), static_cast<unsigned char>(random()));
      blocks.fetch_add(made.held.bytes() != 0 ? 1 : 0);
      while (!rings[(me + 1) % n].put(made)) {
        eat();
        std::this_thread::yield();
      }
      if (i % 16 == 0) {
        eat();
      }
    }
    producing.fetch_sub(1);
    while (producing.load() != 0) {
      eat();
      std::this_thread::yield();
    }
    eat();
  });
  EXPECT_EQ(p.control().statistics().total.allocations, blocks.load());  // empty tensors have none
  for (ring& r : rings) {
    marked left;
    while (r.take(left)) {
      EXPECT_TRUE(left.intact());
    }
  }
  expect_clean(p);
}

TEST(HandOver, ThroughASharedTableAtRandom) {
  pool p(small_cpu(), {.thread_cache_bytes = 2 * mib, .ready_bytes = mib});
  struct cell {
    std::mutex mutex;
    marked held;
  };
  std::vector<cell> table(97);
  in_threads(6, [&](int t) {
    std::mt19937 random(static_cast<unsigned>(t) + 100);
    for (int i = 0; i < 6000 * effort(); ++i) {
      marked mine(p.allocate(some_size(random)), static_cast<unsigned char>(random()));
      cell& c = table[random() % table.size()];
      {
        const std::lock_guard lock(c.mutex);
        std::swap(mine, c.held);
      }
      EXPECT_TRUE(mine.intact());
    }
  });
  table.clear();
  expect_clean(p);
}

TEST(HandOver, BetweenHundredsOfShortThreads) {
  pool p(small_cpu());
  std::mutex mutex;
  std::vector<marked> shared;
  for (int round = 0; round < 60 * effort(); ++round) {
    in_threads(6, [&](int t) {
      std::mt19937 random(static_cast<unsigned>(round * 6 + t));
      std::vector<marked> mine;
      for (int i = 0; i < 40; ++i) {
        mine.emplace_back(p.allocate(some_size(random)), static_cast<unsigned char>(random()));
      }
      const std::lock_guard lock(mutex);
      for (int i = 0; i < 20; ++i) {
        shared.push_back(std::move(mine[static_cast<std::size_t>(i)]));
      }
      std::shuffle(shared.begin(), shared.end(), random);
      while (shared.size() > 100) {
        EXPECT_TRUE(shared.back().intact());
        shared.pop_back();
      }
    });
  }
  EXPECT_EQ(p.control().statistics().threads, 0U);
  EXPECT_EQ(p.control().statistics().total.live, shared.size());
  for (const marked& m : shared) {
    EXPECT_TRUE(m.intact());
  }
  shared.clear();
  expect_clean(p);
}

TEST(HandOver, OverSeveralPoolsAtOnce) {
  std::vector<pool> pools;
  for (int i = 0; i < 20; ++i) {  // more than have a gate of their own in a thread
    pools.emplace_back(small_cpu(), pool_options{.max_tensors = 1 << 14});
  }
  std::array<std::mutex, 8> mutexes;
  std::array<std::vector<marked>, 8> bins;
  in_threads(4, [&](int t) {
    std::mt19937 random(static_cast<unsigned>(t) + 7);
    for (int i = 0; i < 4000 * effort(); ++i) {
      marked m(pools[random() % pools.size()].allocate(random() % 3000),
               static_cast<unsigned char>(random()));
      const std::size_t b = random() % bins.size();
      const std::lock_guard lock(mutexes[b]);
      if (bins[b].size() > 20) {
        std::swap(m, bins[b][random() % bins[b].size()]);
        EXPECT_TRUE(m.intact());
      } else {
        bins[b].push_back(std::move(m));
      }
    }
  });
  for (std::vector<marked>& bin : bins) {
    bin.clear();
  }
  for (pool& p : pools) {
    expect_clean(p);
  }
}

TEST(HandOver, SharedTensorsEndOnceAndSlicesKeepTheirBlock) {
  pool p(small_cpu());
  std::atomic<int> released{0};
  unsigned char foreign = 0;
  constexpr int rounds = 300;
  for (int round = 0; round < rounds; ++round) {
    tensor whole = p.allocate(4096);
    std::memset(whole.data(), round & 0xff, 4096);
    const tensor adopted_owner =
        p.adopt(&foreign, 1, {},
                {.release = [](void*, std::size_t,
                               void* c) { static_cast<std::atomic<int>*>(c)->fetch_add(1); },
                 .context = &released});
    std::array<tensor, 3> shares;
    std::array<tensor, 3> foreigners;
    for (std::size_t i = 0; i < 3; ++i) {
      shares[i] = std::move(*p.share(whole));
      foreigners[i] = std::move(*p.share(adopted_owner));
    }
    whole.reset();
    in_threads(3, [&](int t) {
      const auto i = static_cast<std::size_t>(t);
      tensor part = std::move(*p.slice(shares[i], i * 1000, 1000));
      EXPECT_EQ(*p.pin(shares[i].id()), shares[i].data());
      const tensor_id pinned = shares[i].id();
      shares[i].reset();
      const marked kept = marked::as_is(std::move(part), static_cast<unsigned char>(round));
      EXPECT_TRUE(kept.intact());
      foreigners[i].reset();
      EXPECT_EQ(p.unpin(pinned), errc::ok);
      EXPECT_TRUE(kept.intact());
    });
    EXPECT_EQ(released.load(), round);  // the first owner is still here
  }
  EXPECT_EQ(released.load(), rounds);
  expect_clean(p);
}

// Others pin and unpin by id while the owner frees: a pin comes in time or finds a stale id, and
// the owner's free is never taken for one too many.
TEST(HandOver, PinsOfOthersDoNotHinderTheOwnersFree) {
  std::atomic<int> refused_frees{0};
  const pool_options options{.on_misuse =
                                 [](const misuse_report& report, void* context) {
                                   if (report.kind == misuse_kind::stale_free) {
                                     static_cast<std::atomic<int>*>(context)->fetch_add(1);
                                   }
                                 },
                             .misuse_context = &refused_frees};
  pool p(small_cpu(), options);
  std::atomic<std::uint64_t> shown{0};
  std::atomic<bool> stop{false};
  std::atomic<int> pinned{0};
  std::vector<std::thread> others;
  for (int t = 0; t < 2; ++t) {
    others.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        const tensor_id id = tensor_id::from_value(shown.load());
        if (id && p.pin(id)) {
          pinned.fetch_add(1, std::memory_order_relaxed);
          EXPECT_EQ(p.unpin(id), errc::ok);
        }
      }
    });
  }
  const int least = 3000 * effort();
  for (int i = 0; i < least || (pinned.load() < 100 && i < 1'000'000); ++i) {
    const tensor_id id = p.allocate(100).release();
    shown = id.value();
    if (i % 32 == 0) {
      std::this_thread::yield();  // on one processor too the others meet it
    }
    EXPECT_EQ(p.retain(id), errc::ok);
    EXPECT_EQ(p.release(id), errc::ok);
    EXPECT_EQ(p.deallocate(id), errc::ok);
  }
  stop = true;
  for (std::thread& t : others) {
    t.join();
  }
  EXPECT_GE(pinned.load(), 100);
  EXPECT_EQ(refused_frees.load(), 0);
  expect_clean(p);
}

}  // namespace
}  // namespace tidepool::test
