// SPDX-License-Identifier: Apache-2.0
//
// budget: the bytes that a device or a whole pool has claimed, with a hard and a soft limit. A
// backend claims bytes before it takes them from the system, and unclaims them if that fails.
//   claimed <= hard, unless the limit was lowered below the bytes claimed already
// The soft limit refuses claims, too, until the out-of-memory ladder has tried everything else and
// suspends it.
//
// Thread safety: atomics; every function from any thread.
#pragma once

#include "system/peak.hpp"
#include <tidepool/limits.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

class budget {
 public:
  [[nodiscard]] bool claim(std::size_t bytes) noexcept {
    std::size_t now = claimed_.load(std::memory_order_relaxed);
    do {
      const std::size_t most = bound();
      if (bytes > most || now > most - bytes) {
        return false;
      }
    } while (!claimed_.compare_exchange_weak(now, now + bytes, std::memory_order_relaxed));
    raise_peak(peak_, now + bytes);
    return true;
  }
  void unclaim(std::size_t bytes) noexcept { claimed_.fetch_sub(bytes, std::memory_order_relaxed); }

  void set(const memory_limits& limits) noexcept {
    hard_.store(limits.hard, std::memory_order_relaxed);
    soft_.store(std::min(limits.soft, limits.hard), std::memory_order_relaxed);
  }
  [[nodiscard]] memory_limits limits() const noexcept {
    return {.hard = hard_.load(std::memory_order_relaxed),
            .soft = soft_.load(std::memory_order_relaxed)};
  }
  [[nodiscard]] std::size_t claimed() const noexcept {
    return claimed_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t peak() const noexcept { return peak_.load(std::memory_order_relaxed); }
  void reset_peak() noexcept { peak_.store(claimed(), std::memory_order_relaxed); }

  /// The most bytes that may be claimed now: the soft limit, or the hard one while a thread
  /// suspends the soft one.
  [[nodiscard]] std::size_t bound() const noexcept {
    return suspensions_.load(std::memory_order_relaxed) == 0
               ? soft_.load(std::memory_order_relaxed)
               : hard_.load(std::memory_order_relaxed);
  }
  void suspend_soft() noexcept { suspensions_.fetch_add(1, std::memory_order_relaxed); }
  void resume_soft() noexcept { suspensions_.fetch_sub(1, std::memory_order_relaxed); }
  /// For the child of a fork, which does not have the threads that suspended the soft limit.
  void forget_suspensions() noexcept { suspensions_.store(0, std::memory_order_relaxed); }

 private:
  std::atomic<std::size_t> claimed_{0};
  std::atomic<std::size_t> peak_{0};
  std::atomic<std::size_t> hard_{SIZE_MAX};
  std::atomic<std::size_t> soft_{SIZE_MAX};
  std::atomic<std::uint32_t> suspensions_{0};
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
