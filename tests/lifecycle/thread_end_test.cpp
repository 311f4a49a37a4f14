// SPDX-License-Identifier: Apache-2.0
//
// The end of threads: in any order with pools, with thread-local objects, with pthread keys, by
// cancellation, detached. Whatever a thread kept ready is the pool's afterwards.
#include "support.hpp"

#include <pthread.h>

#include <functional>
#include <optional>

#if defined(__SANITIZE_ADDRESS__)
// glibc runs no destructors that are registered in the destructor of a pthread key, and does not
// free its 32 bytes for each. The pool does not depend on them: it has a key of its own.
extern "C" const char* __lsan_default_suppressions();  // NOLINT: the sanitizer's name
extern "C" const char* __lsan_default_suppressions() {
  return "leak:__cxa_thread_atexit_impl\n";
}
#endif

namespace tidepool::test {
namespace {

void expect_clean(pool& p) {
  const statistics s = p.control().statistics();
  EXPECT_EQ(s.threads, 0U);
  EXPECT_EQ(s.total.live, 0U);
  EXPECT_EQ(imbalance(p), nullptr);
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
}

/// Work for the end of the thread that made it.
struct at_end {
  std::function<void()> work;
  ~at_end() {
    if (work) {
      work();
    }
  }
};
at_end& first_made() {
  thread_local at_end late;
  return late;
}
at_end& last_made() {
  thread_local at_end early;
  return early;
}

TEST(ThreadEnd, ThreadLocalsBeforeAndAfterTheThreadsCache) {
  pool p(small_cpu());
  for (int i = 0; i < 20; ++i) {
    std::thread([&] {
      std::vector<tensor> held;
      first_made().work = [&p] {  // ends after the cache
        p.allocate(500).reset();
        (void)p.control().statistics();
      };
      p.allocate(500).reset();
      held.push_back(p.allocate(70 * kib));
      last_made().work = [&p] {  // ends before it
        const tensor t = p.allocate(500);
        p.allocate(3 * mib).reset();
      };
    }).join();
  }
  expect_clean(p);
}

TEST(ThreadEnd, PoolsThatEndBeforeDuringAndAfter) {
  for (int i = 0; i < 50; ++i) {
    std::optional<pool> before(std::in_place, small_cpu(), pool_options{.max_tensors = 4096});
    std::optional<pool> during(std::in_place, small_cpu(), pool_options{.max_tensors = 4096});
    pool after(small_cpu(), {.max_tensors = 4096});
    tensor left;
    std::thread([&] {
      first_made().work = [&] {
        left = after.allocate(100);
        during.reset();
      };
      left = before->allocate(100);
      during->allocate(100).reset();
      after.allocate(100).reset();
      before.reset();
      left.reset();
    }).join();
    left.reset();
    expect_clean(after);
  }
}

// Destructors of keys run after those of thread-local objects, several rounds of them.
struct key_work {
  pthread_key_t key{};
  std::function<void()> work;
  int rounds = 0;
};
void run_key(void* value) {
  auto& k = *static_cast<key_work*>(value);
  k.work();
  if (--k.rounds > 0) {
    ::pthread_setspecific(k.key, value);
  }
}

TEST(ThreadEnd, KeysWhoseDestructorsUseThePool) {
  for (const bool used_before : {true, false}) {
    pool p(small_cpu());
    key_work k;
    tensor kept;
    k.work = [&] {
      std::vector<tensor> held;
      for (int i = 0; i < 50; ++i) {
        held.push_back(p.allocate(300));
      }
      kept = std::move(held.back());
    };
    ASSERT_EQ(::pthread_key_create(&k.key, run_key), 0);
    for (int i = 0; i < 20; ++i) {
      std::thread([&] {
        k.rounds = i % 3 + 1;
        ::pthread_setspecific(k.key, &k);
        if (used_before) {
          p.allocate(100).reset();
        }
      }).join();
      // The thread and its table are gone: closing a gate there would write into freed memory.
      EXPECT_EQ(p.control().statistics().threads, 0U) << used_before << i;
    }
    ::pthread_key_delete(k.key);
    kept.reset();
    expect_clean(p);
  }
}

TEST(ThreadEnd, CancelledWithReadyBlocks) {
  pool p(small_cpu());
  for (int i = 0; i < 50; ++i) {
    std::atomic<bool> ready{false};
    std::thread t([&] {
      const tensor mine = p.allocate(4000);
      p.allocate(100).reset();
      ready = true;
      if (i % 2 == 0) {
        ::pthread_exit(nullptr);
      }
      for (;;) {
        ::pthread_testcancel();
        p.allocate(100).reset();
      }
    });
    while (!ready) {
      std::this_thread::yield();
    }
    ::pthread_cancel(t.native_handle());
    t.join();
  }
  expect_clean(p);
}

// No operation of the pool is a point where a thread is cancelled: it would end the process.
TEST(ThreadEnd, CancellationWaitsForTheEndOfOperations) {
  std::atomic<int> done{0};
  pool p(small_cpu());
  std::thread([&] {
    ::pthread_cancel(::pthread_self());
    const tensor t = p.allocate(100);
    (void)p.deallocate(tensor_id::from_value(4711));  // a message to stderr
    const prewarm_item item{.bytes = 40 * mib, .count = 2};
    prewarm_plan plan;
    plan.items.push_back(item);
    plan.threads = 3;
    plan.populate = true;
    p.control().prewarm(plan);  // threads, joined
    p.control().trim();
    (void)p.control().statistics();
    (void)p.control().verify();
    done = 1;
    ::pthread_testcancel();
    done = 2;
  }).join();
  EXPECT_EQ(done, 1);
  expect_clean(p);
}

TEST(ThreadEnd, ManyShortThreads) {
  pool p(small_cpu());
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::vector<tensor> left;  // guarded by mutex
  const int count = rounds(1000);
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      std::vector<tensor> mine;
      for (std::size_t k = 0; k < 10; ++k) {
        mine.push_back(p.allocate(100 + k * 100));
      }
      const std::lock_guard lock(mutex);
      left.push_back(std::move(mine[static_cast<std::size_t>(i) % 10]));
      if (left.size() > 7) {
        left.erase(left.begin());
      }
    });
    if (threads.size() == 8) {
      for (std::thread& t : threads) {
        t.join();
      }
      threads.clear();
    }
  }
  for (std::thread& t : threads) {
    t.join();
  }
  left.clear();
  const statistics s = p.control().statistics();
  EXPECT_EQ(s.total.allocations, static_cast<std::uint64_t>(count) * 10);
  EXPECT_EQ(s.total.frees, s.total.allocations);
  expect_clean(p);
}

}  // namespace
}  // namespace tidepool::test
