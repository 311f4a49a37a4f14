// SPDX-License-Identifier: Apache-2.0
//
// tick_thread: the thread behind the tickers of both interfaces. It sleeps on a condition variable,
// so that its end need not wait for an interval to pass. Made and ended by one thread at a time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

class tick_thread {
 public:
  /// The function to call, and its argument.
  struct target {
    void (*tick)(void* what);
    void* what;
  };
  /// Throws std::system_error when no thread can be had.
  tick_thread(target called, std::chrono::milliseconds every)
      : thread_([this, called, every] { run(called, every); }) {}
  /// Waits for a tick under way.
  ~tick_thread();
  tick_thread(const tick_thread&) = delete;
  tick_thread& operator=(const tick_thread&) = delete;

  /// Ends a tick thread. In a child of a fork it leaks the object instead: the thread does not run
  /// there, so it cannot be joined, and it may have held the mutex.
  static void end(std::unique_ptr<tick_thread> one) noexcept;

 private:
  void run(target called, std::chrono::milliseconds every);

  const ::pid_t process_ = this_process();
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ends_ = false;   // guarded by mutex_
  std::thread thread_;  // last: it uses the others

  [[nodiscard]] static ::pid_t this_process() noexcept;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
