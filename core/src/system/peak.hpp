// SPDX-License-Identifier: Apache-2.0
//
// raise_peak: the highest level that an atomic count ever had. Callable from any thread.
#pragma once

#include <atomic>

namespace tidepool {
inline namespace v0 {
namespace detail {

template <class T>
void raise_peak(std::atomic<T>& peak, T value) noexcept {
  T seen = peak.load(std::memory_order_relaxed);
  // A level may wrap below zero for a moment, if frees are published before their allocations. Such
  // a huge number is no peak.
  while (seen < value && value < T{1} << 62 &&
         !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
