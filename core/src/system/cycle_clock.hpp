// SPDX-License-Identifier: Apache-2.0
//
// cycle_clock: the cheapest monotonic counter of the processor, to time single operations now and
// then. latency_sampler converts its ticks to nanoseconds: it compares both clocks over the pool's
// life.
#pragma once

#include <chrono>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

struct cycle_clock {
  [[nodiscard]] static std::uint64_t now() noexcept {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    std::uint64_t ticks;
    asm volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return steady_ns();
#endif
  }
  /// A reading that what stands before it in the program has ended for, and what stands behind it
  /// has not begun: for what takes less than a reading does.
  [[nodiscard]] static std::uint64_t fenced_now() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_lfence();
    const std::uint64_t ticks = now();
    __builtin_ia32_lfence();
    return ticks;
#elif defined(__aarch64__)
    asm volatile("isb" : : : "memory");
    const std::uint64_t ticks = now();
    asm volatile("isb" : : : "memory");
    return ticks;
#else
    return now();
#endif
  }
  [[nodiscard]] static std::uint64_t steady_ns() noexcept {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
