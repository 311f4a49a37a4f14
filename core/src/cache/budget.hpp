// SPDX-License-Identifier: Apache-2.0
//
// budget: bytes claimed against a hard and a soft limit, of one device or of a whole pool. Claims
// are made where blocks enter from the system and are taken back when that fails.
//   claimed <= hard, unless the limit was lowered below what was claimed already
// The soft limit refuses claims too, until the out-of-memory ladder has tried everything that
// costs nothing and suspends it.
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

  /// What a claim may reach now: the soft limit, or the hard one while anybody suspends the soft.
  [[nodiscard]] std::size_t bound() const noexcept {
    return suspensions_.load(std::memory_order_relaxed) == 0
               ? soft_.load(std::memory_order_relaxed)
               : hard_.load(std::memory_order_relaxed);
  }
  void suspend_soft() noexcept { suspensions_.fetch_add(1, std::memory_order_relaxed); }
  void resume_soft() noexcept { suspensions_.fetch_sub(1, std::memory_order_relaxed); }
  /// In a new child: those who suspended it are not there.
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
