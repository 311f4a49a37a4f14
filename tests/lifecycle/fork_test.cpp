// SPDX-License-Identifier: Apache-2.0
//
// fork: the child works on, whatever the parent's other threads were doing at that moment, and what
// they kept ready is the child's to use.
#include "support.hpp"

#include <spawn.h>

#include <optional>

namespace tidepool::test {
namespace {

/// Ends all that the child can end: what its vanished threads hold stays alive.
void end(pool& p) {
  const std::size_t live = p.control().statistics().total.live;
  require(p.close() == live, "close answers what the vanished threads hold");
  require(imbalance(p), "balance after close");
}

// While other threads allocate and free; see in_loaded_child.
class ForkUnderLoad : public ::testing::Test {
 protected:
  void SetUp() override {
    if (address_sanitized) {
      GTEST_SKIP() << "children of a loaded parent hang in libasan's allocator";
    }
  }
};

TEST_F(ForkUnderLoad, TheChildWorksWhateverOtherThreadsWereDoing) {
  pool p(small_cpu());
  const load others(p, 4);
  for (int i = 0; i < rounds(300); ++i) {
    p.allocate(64).reset();  // this thread has a cache of its own
    ASSERT_EQ(in_loaded_child([&] {
                require(imbalance(p), "balance at once");
                use_everything(p);
                std::thread([&] { use_everything(p); }).join();
                end(p);
              }),
              0)
        << i;
  }
}

TEST_F(ForkUnderLoad, PoolsBeyondTheFirstFifteenWorkInTheChildToo) {
  std::vector<std::unique_ptr<pool>> pools;
  for (int i = 0; i < 17; ++i) {
    pools.push_back(std::make_unique<pool>(small_cpu(), pool_options{.max_tensors = 1 << 16}));
  }
  const load first(*pools.front(), 2);
  const load last(*pools.back(), 2);
  for (int i = 0; i < rounds(60); ++i) {
    pools.back()->allocate(64).reset();
    ASSERT_EQ(in_loaded_child([&] {
                use_everything(*pools.back());
                use_everything(*pools.front());
                std::thread([&] { use_everything(*pools.back()); }).join();
                pools.clear();
              }),
              0)
        << i;
  }
}

TEST(Fork, TheChildHasWhatVanishedThreadsKeptReady) {
  pool p(small_cpu(), {.limit_bytes = 64 * mib});
  std::atomic<int> state{0};
  std::thread idle([&] {
    std::vector<tensor> held;
    for (int i = 0; i < 200; ++i) {
      held.push_back(p.allocate(4000));
    }
    held.clear();
    state = 1;
    while (state != 2) {
      std::this_thread::yield();
    }
  });
  while (state != 1) {
    std::this_thread::yield();
  }
  p.allocate(100).reset();
  const statistics before = p.control().statistics();
  EXPECT_EQ(before.threads, 2U);
  EXPECT_EQ(in_child([&] {
              const statistics s = p.control().statistics();
              require(s.threads == 1, "one thread is left");
              require(s.total.live == 0, "nothing is alive");
              require(s.devices[0].cached_bytes == before.devices[0].cached_bytes,
                      "what was ready is ready");
              require(s.total.allocations == before.total.allocations, "counts are kept");
              const std::size_t reserved = s.devices[0].reserved_bytes;
              std::vector<tensor> held;
              for (int i = 0; i < 40; ++i) {
                held.push_back(p.allocate(4000));
              }
              const statistics now = p.control().statistics();
              require(now.devices[0].reserved_bytes == reserved, "no new memory was needed");
              require(now.total.refills == s.total.refills, "the backend was not asked");
              p.allocate(100).reset();
              require(p.control().statistics().total.front_hits > now.total.front_hits,
                      "this thread kept its cache");
              held.clear();
              require(p.control().trim().reserved_bytes == 0, "nothing is stranded");
            }),
            0);
  state = 2;
  idle.join();
}

TEST_F(ForkUnderLoad, FromAnyThreadAndWithinChildren) {
  pool p(small_cpu());
  std::optional<load> others(std::in_place, p, 2);
  for (int i = 0; i < rounds(50); ++i) {
    std::thread([&] {
      tensor mine = p.allocate(5000);
      ASSERT_EQ(in_loaded_child([&] {
                  require(in_child([&] { use_everything(p); }) == 0, "the grandchild works");
                  mine.reset();
                  use_everything(p);
                  std::thread([&] {
                    require(in_child([&] { use_everything(p); }) == 0, "a child of a child thread");
                  }).join();
                  end(p);
                }),
                0);
    }).join();
  }
  others.reset();
  EXPECT_EQ(imbalance(p), nullptr);
}

TEST(Fork, TheParentGoesOnAsBefore) {
  pool p(small_cpu());
  {
    const load others(p, 3);
    for (int i = 0; i < rounds(200); ++i) {
      ASSERT_EQ(in_child([] {}), 0);
      p.allocate(640).reset();
    }
  }
  const statistics s = p.control().statistics();
  EXPECT_EQ(s.total.live, 0U);
  EXPECT_EQ(imbalance(p), nullptr);
  p.allocate(640).reset();  // the last trim may have taken what was ready
  const std::uint64_t hits = p.control().statistics().total.front_hits;
  p.allocate(640).reset();
  EXPECT_EQ(p.control().statistics().total.front_hits, hits + 1);  // the gate is open again
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
}

TEST_F(ForkUnderLoad, PoolsThatComeAndGoMeanwhile) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> makers;
  for (int t = 0; t < 3; ++t) {
    makers.emplace_back([&] {
      while (!stop) {
        pool p(small_cpu(), {.max_tensors = 4096});
        tensor left = p.allocate(100);
        { const pool ends = std::move(p); }
        left.reset();
      }
    });
  }
  pool kept(small_cpu());
  for (int i = 0; i < rounds(50); ++i) {
    ASSERT_EQ(in_loaded_child([&] {
                use_everything(kept);
                std::vector<pool> pools;  // no tag is lost to pools of vanished threads but theirs
                for (int k = 0; k < 50; ++k) {
                  pools.emplace_back(small_cpu(), pool_options{.max_tensors = 4096});
                }
              }),
              0);
  }
  stop = true;
  for (std::thread& t : makers) {
    t.join();
  }
}

struct forking_observer final : allocation_observer {
  void on_allocate(const tensor_info&) noexcept override { fork_once(); }
  void on_free(const tensor_info&) noexcept override { fork_once(); }
  void fork_once() noexcept {
    if (std::this_thread::get_id() == forks && armed.exchange(false)) {
      const pid_t child = ::fork();
      in_the_child = child == 0;
      if (in_the_child && thread_sanitized) {
        ::_exit(0);  // see in_loaded_child
      } else if (in_the_child) {
        arm_watchdog();
      } else {
        seen = wait_for(child);
      }
    }
  }
  const std::thread::id forks = std::this_thread::get_id();
  std::atomic<bool> armed{false};
  bool in_the_child = false;
  int seen = -1;
};

TEST_F(ForkUnderLoad, FromACallbackOfThePool) {
  for (const bool on_free : {false, true}) {
    pool p(small_cpu());
    const load others(p, 2);
    forking_observer observer;
    p.control().set_observer(&observer);
    observer.armed = !on_free;
    tensor t = p.allocate(100);
    observer.armed = on_free;
    t.reset();
    if (observer.in_the_child) {
      p.control().set_observer(nullptr);
      use_everything(p);
      end(p);
      ::_exit(0);
    }
    EXPECT_EQ(observer.seen, 0) << on_free;
    p.control().set_observer(nullptr);
  }
}

// A thread waits in a callback for what the forking thread will do after fork.
TEST(Fork, DoesNotWaitForCallbacks) {
  struct slow_observer final : allocation_observer {
    void on_allocate(const tensor_info&) noexcept override {
      inside = true;
      while (!leave) {
        std::this_thread::yield();
      }
    }
    void on_free(const tensor_info&) noexcept override {}
    std::atomic<bool> inside{false};
    std::atomic<bool> leave{false};
  } observer;
  pool p(small_cpu());
  p.control().set_observer(&observer);
  std::thread waits([&] { p.allocate(100).reset(); });
  while (!observer.inside) {
    std::this_thread::yield();
  }
  EXPECT_EQ(in_child([&] {
              observer.leave = true;
              p.control().set_observer(nullptr);
              require(p.control().statistics().total.live == 1,
                      "the vanished thread's tensor is alive");
              use_everything(p);
              end(p);
            }),
            0);
  observer.leave = true;
  waits.join();
  p.control().set_observer(nullptr);
  EXPECT_EQ(p.control().statistics().total.live, 0U);
}

TEST_F(ForkUnderLoad, WhileAnotherThreadCloses) {
  for (int i = 0; i < rounds(150); ++i) {
    pool p(small_cpu(), {.max_tensors = 1 << 16, .on_misuse = [](const misuse_report&, void*) {}});
    std::optional<load> others(std::in_place, p, 2, 64 * kib);
    tensor mine = p.allocate(100);
    std::atomic<bool> begun{false};
    std::thread closer([&] {
      begun = true;
      (void)p.close();
    });
    while (!begun) {
      std::this_thread::yield();
    }
    ASSERT_EQ(in_loaded_child([&] {
                const result<tensor> made = p.try_allocate(64);  // refused, or not closed yet
                require(made.has_value() || made.error().code == errc::closed, "an answer");
                require(imbalance(p), "balance");
                mine.reset();
                (void)p.close();
                require(imbalance(p), "balance after close");
              }),
              0)
        << i;
    closer.join();
    others.reset();
    mine.reset();
    EXPECT_EQ(p.close(), 0U);
  }
}

// Handlers that an application registered before its first pool run after the pool's in the parent
// and may use the pool; locks that it holds around pool operations are taken there.
std::atomic<pool*> used_by_handlers{nullptr};
std::mutex application_mutex;

void prepare() {
  application_mutex.lock();
  if (pool* const p = used_by_handlers) {
    p->allocate(300).reset();
  }
}
void release() {
  if (pool* const p = used_by_handlers) {
    p->allocate(300).reset();
  }
  application_mutex.unlock();
}

TEST_F(ForkUnderLoad, HandlersOfTheApplicationMayUseThePool) {
  static const int registered = ::pthread_atfork(prepare, release, release);
  ASSERT_EQ(registered, 0);
  pool p(small_cpu());
  used_by_handlers = &p;
  std::atomic<bool> stop{false};
  std::thread under_lock([&] {
    while (!stop) {
      const std::lock_guard lock(application_mutex);
      p.allocate(4000).reset();
      p.control().thread_idle();
    }
  });
  for (int i = 0; i < rounds(20); ++i) {
    ASSERT_EQ(in_loaded_child([&] { use_everything(p); }), 0);
  }
  stop = true;
  under_lock.join();
  used_by_handlers = nullptr;
}

[[gnu::noinline]] int end_of_vforked() {
  const pid_t child = ::vfork();
  if (child == 0) {
    ::_exit(5);
  }
  return wait_for(child);
}

TEST(Fork, ExecAndSpawnAreUndisturbed) {
  pool p(small_cpu());
  std::optional<load> others(std::in_place, p, 3);
  for (int i = 0; i < rounds(50); ++i) {
    pid_t child = ::fork();
    if (child == 0) {
      ::execl("/bin/true", "true", static_cast<char*>(nullptr));
      ::_exit(97);
    }
    ASSERT_EQ(wait_for(child), 0);
    char name[] = "true";
    char* const arguments[] = {name, nullptr};
    char* const environment[] = {nullptr};
    ASSERT_EQ(::posix_spawn(&child, "/bin/true", nullptr, nullptr, arguments, environment), 0);
    ASSERT_EQ(wait_for(child), 0);
    ASSERT_EQ(std::system("exit 7"), 7 << 8);
    ASSERT_EQ(end_of_vforked(), 5);
  }
  others.reset();
  EXPECT_EQ(p.control().verify(), nullptr);
}

}  // namespace
}  // namespace tidepool::test
