// SPDX-License-Identifier: Apache-2.0
//
// Threads that want the same key at the same time. That they do is arranged or counted, not hoped
// for: a pool that forgets to refuse a key in use fails here every time.
#include "../support/heap_backend.hpp"
#include "support.hpp"

#include <barrier>

namespace tidepool::test {
namespace {

constexpr int threads = 4;

/// The tensor with the key, or none.
[[nodiscard]] tensor_id owner_of(const pool& p, std::uint64_t key) {
  const result<tensor_id> found = p.find(key);
  return found ? *found : tensor_id{};
}

/// Holds every attempt of a round inside the backend until all others are there too, or are over.
class meeting {
 public:
  /// One thread's attempt in round 0, 1, ...
  template <class Attempt>
  void attend(int round, Attempt attempt) {
    target_ = (round + 1) * threads;
    arrived_here_ = false;
    attempt();
    arrive();
  }
  /// Called by the backend.
  void wait() {
    arrive();
    while (arrived_.load() < target_) {
      std::this_thread::yield();
    }
  }

 private:
  void arrive() {
    if (!std::exchange(arrived_here_, true)) {
      arrived_.fetch_add(1);
    }
  }
  std::atomic<int> arrived_{0};
  static thread_local int target_;
  static thread_local bool arrived_here_;
};
thread_local int meeting::target_ = 0;
thread_local bool meeting::arrived_here_ = true;

TEST(Keys, OfAllThatAskAtOnceOneGetsIt) {
  heap_log log;
  meeting inside;
  log.on_call = [&] { inside.wait(); };
  // Nothing is kept: each allocation with memory asks the backend.
  pool p(std::make_unique<heap_backend>(log), {.thread_cache_bytes = 0, .ready_bytes = 0});
  std::barrier<> together(threads);
  std::array<result<tensor>, threads> made{errc::closed, errc::closed, errc::closed, errc::closed};
  std::atomic<bool> failed{false};
  const int rounds = 1500 * effort();
  unsigned char foreign = 0;
  const auto judge = [&](int round, std::uint64_t key) {
    int owners = 0;
    for (const result<tensor>& one : made) {
      owners += one.has_value() ? 1 : 0;
      EXPECT_TRUE(one.has_value() || one.error().code == errc::key_in_use) << "round " << round;
      EXPECT_TRUE(!one.has_value() || owner_of(p, key) == one->id()) << "round " << round;
    }
    EXPECT_EQ(owners, 1) << "round " << round << ", key " << key;
    for (result<tensor>& one : made) {
      one = errc::closed;
    }
    EXPECT_FALSE(owner_of(p, key)) << "round " << round;
    failed = ::testing::Test::HasFailure();
  };
  in_threads(threads, [&](int t) {
    for (int round = 0; round < rounds && !failed.load(); ++round) {
      const auto key = static_cast<std::uint64_t>(1 + round % 3);
      result<tensor>& mine = made[static_cast<std::size_t>(t)];
      together.arrive_and_wait();
      inside.attend(round, [&] {
        // Tensors with memory, without any, and with somebody else's take three ways.
        mine = round % 4 < 2    ? p.try_allocate(100, {}, {.key = key})
               : round % 4 == 2 ? p.try_allocate(0, {}, {.key = key})
                                : p.try_adopt(&foreign, 1, {}, {.key = key});
      });
      together.arrive_and_wait();
      if (t == 0) {
        judge(round, key);
      }
      together.arrive_and_wait();
    }
  });
  expect_clean(p);
}

TEST(Keys, ComeAndGoWithTheirTensors) {
  pool p(small_cpu());
  std::array<std::atomic<int>, 8> owners{};
  std::atomic<int> refused{0};
  constexpr int wanted = 500;      // refusals: attempts that met a living tensor
  constexpr int most = 2'000'000;  // attempts of each thread until that is given up
  const int least = 3000 * effort();
  in_threads(threads, [&](int t) {
    std::mt19937 random(static_cast<unsigned>(t));
    for (int i = 0; i < least || (refused.load() < wanted && i < most); ++i) {
      const std::size_t k = random() % owners.size();
      result<tensor> made = p.try_allocate(random() % 200, {}, {.key = k + 1});
      if (!made) {
        EXPECT_EQ(made.error().code, errc::key_in_use);
        refused.fetch_add(1);
        continue;
      }
      EXPECT_EQ(owners[k].fetch_add(1), 0);
      EXPECT_EQ(owner_of(p, k + 1), made->id());
      if (i % 32 == 0) {
        std::this_thread::yield();  // on one processor too the others meet it
      }
      owners[k].fetch_sub(1);
      made->reset();
      if (i % 64 == 0 && ::testing::Test::HasFailure()) {
        break;
      }
    }
  });
  EXPECT_GE(refused.load(), wanted) << "no two threads had the same key at the same time";
  expect_clean(p);
}

}  // namespace
}  // namespace tidepool::test
