// SPDX-License-Identifier: Apache-2.0
//
// report_bad_place: a mark on each thread that its end clears, and one on the process that fork
// sets.
#include "api/place.hpp"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <string>

namespace cudasim {

namespace {

constinit std::atomic<bool> is_forked{false};
constinit thread_local bool is_ending = false;

struct end_mark {
  end_mark() = default;
  end_mark(const end_mark&) = delete;
  end_mark& operator=(const end_mark&) = delete;
  // The main thread's objects end before those that are static, which may still call.
  ~end_mark() { is_ending = ::gettid() != ::getpid(); }
  bool is_set = false;
};
thread_local end_mark mark;

}  // namespace

void report_bad_place(runtime& r, const char* name) {
  static const int watches_forks =
      ::pthread_atfork(nullptr, nullptr, [] { is_forked.store(true, std::memory_order_relaxed); });
  static_cast<void>(watches_forks);
  if (is_ending) {
    r.findings.add(finding::thread_end, name);
  } else {
    mark.is_set = true;  // makes it, so that it ends with the thread
  }
  if (is_forked.load(std::memory_order_relaxed)) {
    r.findings.add(finding::forked_child, name);
  }
}

}  // namespace cudasim
