// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the life cycle share: child processes that say what they missed and cannot
// hang, and a pool at work in other threads. Nothing here sleeps or looks at a clock; the alarm of
// a child ends it when it hangs, and decides nothing else.
#pragma once

#include "../support/amount.hpp"
#include "../support/sanitizers.hpp"
#include "../support/small_cpu.hpp"
#include <tidepool/control.hpp>
#include <tidepool/pool.hpp>

#include <gtest/gtest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tidepool::test {

/// More in long runs, less under sanitizers.
inline int rounds(int usual) {
  return sanitized ? std::max(usual / 5, 1) : usual * effort();
}

/// For children, where no GoogleTest reports: says what does not hold and ends the process.
inline void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "in the child: not so: %s\n", what);
    ::_exit(99);
  }
}
inline void require(const char* broken, const char* where) {
  if (broken != nullptr) {
    std::fprintf(stderr, "in the child: broken %s: %s\n", where, broken);
    ::_exit(98);
  }
}

/// How a child ended: its exit code, or minus its signal (SIGALRM: it hung).
inline int wait_for(pid_t child) {
  int how = 0;
  while (::waitpid(child, &how, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(how) ? WEXITSTATUS(how) : -WTERMSIG(how);
}
inline void arm_watchdog() {
  ::alarm(sanitized ? 300 : 20);
}

/// Runs work in a forked child; answers how it ended, 0 when work returned.
template <class Work>
int in_child(Work work) {
  std::fflush(nullptr);  // else a child that calls exit says it again
  const pid_t child = ::fork();
  if (child == 0) {
    arm_watchdog();
    work();
    ::_exit(0);
  }
  return wait_for(child);
}

/// A child of a process whose other threads work. g++ 12's sanitizers do not hold their allocators'
/// locks over fork (seen in a debugger: libasan 2026-11-22, libtsan 2026-11-29): a child inherits
/// those that vanished threads had, and its own operator new waits for them for good. So with the
/// thread sanitizer children end at once, and what is watched is fork itself; with the address
/// sanitizer such tests are left out.
template <class Work>
int in_loaded_child(Work work) {
  return in_child([&] {
    if (!thread_sanitized) {
      work();
    }
  });
}

/// live + cached + free == reserved, and every structure as it should be.
inline const char* imbalance(pool& p) {
  if (const char* const broken = p.control().verify()) {
    return broken;
  }
  const statistics s = p.control().statistics();
  for (const device_statistics& d : s.devices) {
    if (d.live_bytes + d.cached_bytes + p.control().memory(d.where).free_bytes !=
        d.reserved_bytes) {
      return "live + cached + free == reserved";
    }
    if (d.total.live != d.total.allocations - d.total.frees) {
      return "live == allocations - frees";
    }
  }
  return nullptr;
}

/// Threads that work on a pool in every way until they are told to end.
class load {
 public:
  load(pool& p, int threads, std::size_t largest = 3 * mib) {
    for (int t = 0; t < threads; ++t) {
      threads_.emplace_back([this, &p, t, largest] { work(p, static_cast<unsigned>(t), largest); });
    }
    while (begun_.load() != threads) {
      std::this_thread::yield();
    }
  }
  ~load() {
    stop_ = true;
    for (std::thread& t : threads_) {
      t.join();
    }
  }
  load(const load&) = delete;
  load& operator=(const load&) = delete;

 private:
  void work(pool& p, unsigned seed, std::size_t largest) {
    std::mt19937 random(seed);
    std::vector<tensor> held;
    int step = 0;
    while (!stop_.load(std::memory_order_relaxed)) {
      const std::size_t pick = random() % 64;
      const std::size_t bytes = pick == 0   ? random() % largest
                                : pick == 1 ? 0
                                : pick < 8  ? random() % (64 * kib)
                                            : 64 * (1 + random() % 8);
      if (result<tensor> made = p.try_allocate(bytes)) {
        held.push_back(std::move(*made));
      }
      if (held.size() > 20) {
        std::swap(held[random() % held.size()], held.back());
        held.pop_back();
      }
      if (++step == 16) {
        begun_.fetch_add(1);
      }
      if (step % 64 == 0) {
        other(p, random, held);
      }
    }
    if (step < 16) {
      begun_.fetch_add(1);
    }
  }
  static void other(pool& p, std::mt19937& random, std::vector<tensor>& held) {
    switch (random() % 8) {
    case 0:
      (void)p.control().trim(random() % 2 == 0 ? 0 : mib);
      break;
    case 1:
      (void)p.control().statistics();
      break;
    case 2:
      p.control().thread_idle();
      break;
    case 3:
      (void)p.intern("name " + std::to_string(random() % 50));
      break;
    case 4:
      if (!held.empty()) {
        (void)p.find(held.back().data());
      }
      break;
    case 5:
      if (result<tensor> keyed = p.try_allocate(100, {}, {.key = random() % 100 + 1})) {
        (void)p.share(*keyed);
        (void)p.slice(*keyed, 10, 10);
      }
      break;
    case 6:
      std::thread([&p] { (void)p.try_allocate(200); }).join();
      break;
    default:
      p.control().tick();
      break;
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<int> begun_{0};
  std::vector<std::thread> threads_;
};

/// Every way to use a pool that a child has, and the end of it.
inline void use_everything(pool& p) {
  std::vector<tensor> held;
  for (std::size_t i = 0; i < 300; ++i) {
    held.push_back(p.allocate(i % 7 == 0 ? i * 900 : i * 3));
    if (held.back().data() != nullptr) {
      std::memset(held.back().data(), static_cast<int>(i), held.back().bytes());
    }
  }
  const std::uint64_t key = 1'000'000;
  const tensor keyed = p.allocate(1000, {}, {.name = p.intern("in the child"), .key = key});
  require(p.find(key).has_value(), "the key is found");
  require(*p.find(held[1].data()) == held[1].id(), "the address is found");
  const tensor part = std::move(*p.slice(keyed, 10, 20));
  const tensor other = std::move(*p.share(keyed));
  require(imbalance(p), "balance");
  held.resize(100);
  p.control().thread_idle();
  p.control().tick();
  (void)p.control().trim();
  require(imbalance(p), "balance after trim");
  held.clear();
}

}  // namespace tidepool::test
