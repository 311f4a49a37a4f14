// SPDX-License-Identifier: Apache-2.0
//
// Caches taken from threads while they work: by trim, by the limit, by statistics, by closing, and
// from threads that sleep on full caches. Nothing is stranded, nothing is given out twice.
#include "support.hpp"

#include <condition_variable>
#include <functional>

namespace tidepool::test {
namespace {

/// Threads that fill their caches and then sleep until the end.
class sleepers {
 public:
  sleepers(pool& p, int count, std::size_t bytes_each) {
    for (int t = 0; t < count; ++t) {
      threads_.emplace_back([this, &p, bytes_each] { sleep(p, bytes_each); });
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asleep_ == count; });
  }
  ~sleepers() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    for (std::thread& t : threads_) {
      t.join();
    }
  }
  sleepers(const sleepers&) = delete;
  sleepers& operator=(const sleepers&) = delete;

 private:
  void sleep(pool& p, std::size_t bytes_each) {
    std::vector<tensor> held;
    for (std::size_t bytes = 0; bytes < bytes_each; bytes += 256 * kib) {
      if (result<tensor> made = p.try_allocate(256 * kib)) {
        held.push_back(std::move(*made));
      }
    }
    held.clear();
    std::unique_lock lock(mutex_);
    ++asleep_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return over_; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int asleep_ = 0;     // guarded by mutex_
  bool over_ = false;  // guarded by mutex_
  std::vector<std::thread> threads_;
};

class Revocation : public ::testing::TestWithParam<bool> {
 protected:
  [[nodiscard]] pool_options options(std::size_t limit = SIZE_MAX) const {
    return {.limit_bytes = limit, .membarrier = GetParam()};
  }
};
INSTANTIATE_TEST_SUITE_P(by, Revocation, ::testing::Bool(),
                         [](const auto& one) { return one.param ? "membarrier" : "fences"; });

// The whole limit lies in the caches of threads that will not move: it is there all the same.
TEST_P(Revocation, WhatSleepingThreadsHoldIsThereForAll) {
  for (int round = 0; round < 4 * effort(); ++round) {
    pool p(small_cpu(), options(32 * mib));
    const sleepers idle(p, 6, 5 * mib);
    EXPECT_GT(p.control().statistics().devices[0].reserved_bytes, 4 * mib);
    result<tensor> large = p.try_allocate(31 * mib);
    ASSERT_TRUE(large.has_value()) << to_string(large.error());
    large->reset();
    std::vector<tensor> small;
    for (int i = 0; i < 31; ++i) {
      result<tensor> one = p.try_allocate(mib);
      ASSERT_TRUE(one.has_value()) << i << ": " << to_string(one.error());
      small.push_back(std::move(*one));
    }
    small.clear();
    EXPECT_EQ(p.control().trim().reserved_bytes, 0U) << "though all of them still sleep";
    EXPECT_EQ(p.control().verify(), nullptr);
  }
}

// Every way to close gates, against threads that allocate, hand over and free.
TEST_P(Revocation, FromEverySideWhileOthersWork) {
  pool p(small_cpu(), options(24 * mib));
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::vector<marked> shelf;  // guarded by mutex: freed by whoever comes
  const auto work = [&](int number) {
    std::mt19937 random(static_cast<unsigned>(number));
    std::vector<marked> held;
    while (!stop.load(std::memory_order_relaxed)) {
      result<tensor> made = p.try_allocate(some_size(random));
      if (!made) {
        EXPECT_EQ(made.error().code, errc::over_budget);
        held.clear();
        continue;
      }
      held.emplace_back(std::move(*made), static_cast<unsigned char>(random()));
      if (held.size() > 16) {
        std::swap(held[random() % held.size()], held.back());
        EXPECT_TRUE(held.back().intact());
        if (random() % 4 == 0) {
          const std::lock_guard lock(mutex);
          shelf.push_back(std::move(held.back()));
          if (shelf.size() > 8) {
            EXPECT_TRUE(shelf.front().intact());
            shelf.erase(shelf.begin());
          }
        }
        held.pop_back();
      }
    }
    for (const marked& one : held) {
      EXPECT_TRUE(one.intact());
    }
  };
  const std::array<std::function<void(int)>, 4> revokers{
      [&](int i) { (void)p.control().trim(i % 4 == 0 ? 0 : 8 * mib); },
      [&](int) { (void)p.try_allocate(20 * mib); },  // climbs the ladder
      [&](int) { EXPECT_LE(p.control().statistics().devices[0].reserved_bytes, 24 * mib); },
      [&](int i) {
        p.control().tick();
        p.control().thread_idle();
        if (i % 8 == 0) {
          p.allocate(0).reset();
        }
      },
  };
  {
    const sleepers idle(p, 3, mib);
    std::vector<std::thread> workers;
    for (int t = 0; t < 3; ++t) {
      workers.emplace_back(work, t);
    }
    in_threads(static_cast<int>(revokers.size()), [&](int t) {
      for (int i = 0; i < 200 * effort(); ++i) {
        revokers[static_cast<std::size_t>(t)](i);
      }
    });
    stop = true;
    for (std::thread& t : workers) {
      t.join();
    }
    shelf.clear();
  }
  expect_clean(p);
}

// Threads come and go while their caches are being taken.
TEST_P(Revocation, OfThreadsThatEndMeanwhile) {
  pool p(small_cpu(), options());
  std::atomic<bool> stop{false};
  std::thread revoker([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      (void)p.control().trim();
      (void)p.control().statistics();
    }
  });
  for (int round = 0; round < 20 * effort(); ++round) {
    in_threads(4, [&](int number) {
      std::mt19937 random(static_cast<unsigned>(number + round * 4));
      std::vector<marked> held;
      for (int i = 0; i < 40; ++i) {
        held.emplace_back(p.allocate(some_size(random)), static_cast<unsigned char>(i));
      }
      for (const marked& one : held) {
        EXPECT_TRUE(one.intact());
      }
    });
  }
  stop = true;
  revoker.join();
  expect_clean(p);
}

}  // namespace
}  // namespace tidepool::test
