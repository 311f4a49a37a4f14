// SPDX-License-Identifier: Apache-2.0
//
// The thread behind ticker. It sleeps on a condition variable, so that the end need not wait for an
// interval to pass.
#include <tidepool/pool.hpp>
#include <tidepool/ticker.hpp>

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

namespace tidepool {
inline namespace v0 {

struct ticker::state {
  state(pool& which, std::chrono::milliseconds every)
      : thread([this, &which, every] { run(which, every); }) {}
  ~state() {
    {
      const std::lock_guard lock(mutex);
      ends = true;
    }
    wake.notify_one();
    thread.join();
  }
  state(const state&) = delete;
  state& operator=(const state&) = delete;

  void run(pool& which, std::chrono::milliseconds every) {
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, every, [this] { return ends; })) {
      lock.unlock();
      which.tick();
      lock.lock();
    }
  }
  /// A thread of the parent does not run in the child, and may have held the mutex.
  static void end(std::unique_ptr<state> one) noexcept {
    if (one != nullptr && one->process != ::getpid()) {
      (void)one.release();  // NOLINT(bugprone-unused-return-value): lost on purpose
    }
  }

  const ::pid_t process = ::getpid();
  std::mutex mutex;
  std::condition_variable wake;
  bool ends = false;   // guarded by mutex
  std::thread thread;  // last: it uses the others
};

ticker::ticker(pool& which, std::chrono::milliseconds every) {
  if (every <= std::chrono::milliseconds::zero()) {
    throw std::invalid_argument("tidepool::ticker: the interval must be > 0");
  }
  state_ = std::make_unique<state>(which, every);
}

ticker::~ticker() {
  state::end(std::move(state_));
}

ticker::ticker(ticker&&) noexcept = default;

ticker& ticker::operator=(ticker&& other) noexcept {
  if (this != &other) {
    state::end(std::exchange(state_, std::move(other.state_)));
  }
  return *this;
}

}  // namespace v0
}  // namespace tidepool
