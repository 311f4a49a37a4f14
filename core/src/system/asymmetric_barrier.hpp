// SPDX-License-Identifier: Apache-2.0
//
// The heavy side of a biased lock. An owner says "busy" with a plain store and then looks whether
// its gate is open, without a fence between; whoever closes the gate runs a barrier in every
// running thread of the process, so that either the owner sees the closed gate or the closer sees
// "busy". membarrier(2), PRIVATE_EXPEDITED; where the system refuses it, and under ThreadSanitizer,
// which cannot see it, owners use sequentially consistent operations instead (needs_fences).
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

/// Registers the process once. False: use fences. Thread-safe, idempotent.
[[nodiscard]] bool asymmetric_barrier_available() noexcept;
/// In a new child of fork. False: the system refuses it from now on.
[[nodiscard]] bool renew_asymmetric_barrier() noexcept;
/// Every running thread of the process passes a full barrier before this returns.
/// Pre: asymmetric_barrier_available() answered true.
void asymmetric_barrier() noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
