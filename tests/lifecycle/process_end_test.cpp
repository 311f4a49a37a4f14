// SPDX-License-Identifier: Apache-2.0
//
// The end of a process with pools at work: no hang, and the exit code that was asked for.
#include "support.hpp"

#include <functional>

namespace {
bool ends_with_threads = false;  // which hold memory that nothing will free
}  // namespace

#if defined(__SANITIZE_ADDRESS__)
// Asked when the process ends.
extern "C" int __lsan_is_turned_off();  // NOLINT: the sanitizer's name
extern "C" int __lsan_is_turned_off() {
  return ends_with_threads ? 1 : 0;
}
#endif

namespace tidepool::test {
namespace {

// As many programs have it: made once, never destroyed.
pool& immortal() {
  static pool* const p = new pool(small_cpu());
  return *p;
}
std::vector<tensor>& statics() {
  static std::vector<tensor> all;
  return all;
}

/// Threads that nobody joins, at work on the pool.
void detach_workers(int count) {
  static std::atomic<int> begun{0};
  for (int t = 0; t < count; ++t) {
    std::thread([] {
      std::vector<tensor> held;
      for (std::size_t i = 1;; ++i) {
        held.push_back(immortal().allocate(i * 40 % 9000));
        if (held.size() == 30) {
          held.clear();
          begun.fetch_add(1);
        }
        if (i % 500 == 0) {
          (void)immortal().control().trim();
        }
      }
    }).detach();
  }
  while (begun < count) {
    std::this_thread::yield();
  }
}

int ends(const std::function<void()>& how) {
  return in_child([&] {
    ends_with_threads = true;
    statics().push_back(immortal().allocate(1000));
    detach_workers(3);
    how();
  });
}

TEST(ProcessEnd, WhileThreadsWork) {
  if (thread_sanitized) {
    GTEST_SKIP() << "ThreadSanitizer's own exit waits for nobody and reports what is left";
  }
  for (int i = 0; i < rounds(10); ++i) {
    EXPECT_EQ(ends([] { std::exit(7); }), 7);
    EXPECT_EQ(ends([] { ::_exit(8); }), 8);
    EXPECT_EQ(ends([] { std::quick_exit(9); }), 9);
    EXPECT_EQ(ends([] { std::abort(); }), -SIGABRT);
    EXPECT_EQ(ends([] { std::thread([] { std::exit(10); }).join(); }), 10);
  }
}

TEST(ProcessEnd, HandlersOfExitUseThePool) {
  EXPECT_EQ(in_child([] {
              ends_with_threads = true;
              immortal().allocate(64).reset();
              std::atexit([] {
                const tensor t = immortal().allocate(100);
                require(imbalance(immortal()), "balance at exit");
              });
              std::exit(11);
            }),
            11);
  EXPECT_EQ(in_child([] {
              ends_with_threads = true;
              std::atexit([] { immortal().allocate(100).reset(); });  // the first use of all
              std::exit(12);
            }),
            12);
}

}  // namespace
}  // namespace tidepool::test
