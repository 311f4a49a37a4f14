// SPDX-License-Identifier: Apache-2.0
//
// The heavy side of a biased lock. An owner says "busy" with a plain store and then reads its gate,
// without a fence in between. The closer of the gate runs a barrier in every running thread of the
// process. So either the owner sees the closed gate or the closer sees "busy". The barrier is
// membarrier(2), PRIVATE_EXPEDITED. If the system refuses it, and under ThreadSanitizer, which does
// not see it, owners use sequentially consistent operations instead (cache_list::is_fenced).
// Source: Dice, Huang, Yang: Asymmetric Dekker Synchronization (2001); membarrier(2).
#pragma once

namespace tidepool {
inline namespace v0 {
namespace detail {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool thread_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool thread_sanitizer = true;
#else
inline constexpr bool thread_sanitizer = false;
#endif
#else
inline constexpr bool thread_sanitizer = false;
#endif

/// Registers the process at the first call. False: owners must use fences. Thread-safe.
[[nodiscard]] bool asymmetric_barrier_available() noexcept;
/// Registers a new child of fork. False: the system refuses the barrier from now on.
[[nodiscard]] bool renew_asymmetric_barrier() noexcept;
/// Every running thread of the process passes a full barrier before this returns.
/// Pre: asymmetric_barrier_available() answered true.
void asymmetric_barrier() noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
