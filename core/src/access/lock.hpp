// SPDX-License-Identifier: Apache-2.0
//
// access_lock: a mutex of one word, after U. Drepper, "Futexes Are Tricky", mutex 2. It also says
// whether a thread waits, so that a thread which holds it for long can give others a turn. fork may
// hold any number of them. Cost: one atomic operation to take it uncontended, one to give it back.
#pragma once

#include <atomic>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

class access_lock {
 public:
  [[nodiscard]] bool try_lock() noexcept {
    std::uint32_t free = 0;
    return state_.compare_exchange_strong(free, held, std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }
  void lock() noexcept {
    if (!try_lock()) {
      while (state_.exchange(wanted, std::memory_order_acquire) != 0) {
        state_.wait(wanted, std::memory_order_relaxed);
      }
    }
  }
  void unlock() noexcept {
    if (state_.exchange(0, std::memory_order_release) == wanted) {
      state_.notify_one();
    }
  }
  /// Does a thread wait? The answer may be out of date at once.
  [[nodiscard]] bool is_wanted() const noexcept {
    return state_.load(std::memory_order_relaxed) == wanted;
  }

 private:
  static constexpr std::uint32_t held = 1;
  static constexpr std::uint32_t wanted = 2;  // held, and a thread may wait
  std::atomic<std::uint32_t> state_{0};
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
