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
  [[nodiscard]] static std::uint64_t steady_ns() noexcept {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
