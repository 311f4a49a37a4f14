// SPDX-License-Identifier: Apache-2.0
//
// with_closed_gates: the closer's side of every biased lock of a pool.
#pragma once

#include "asymmetric_barrier.hpp"
#include "pool_core.hpp"

#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Closes every gate, waits until every owner is out, calls f(cache) for each, and opens the gates
/// again unless the front stays closed. Pre: registry_mutex_ is held. f must not block on a thread
/// that may be inside its cache; owners inside never wait for anything.
template <class F>
void pool_core::with_closed_gates(F&& f) noexcept {
  for (front_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    close_gate(*cache);
  }
  if (!fenced_ && caches_ != nullptr) {
    asymmetric_barrier();
  }
  for (front_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    // seq_cst pairs with the owner's fenced entry; an owner is inside for nanoseconds unless it was
    // preempted there, so yield after a short spin.
    const std::atomic<std::uint32_t>& busy =
        cache->home != nullptr ? cache->home->busy : cache->fenced_busy;
    for (int spins = 0; busy.load(std::memory_order_seq_cst) != 0; ++spins) {
      if (spins > 64) {
        std::this_thread::yield();
      }
    }
    f(*cache);
  }
  if (front_open()) {
    for (front_cache* cache = caches_; cache != nullptr; cache = cache->next) {
      open_gate(*cache);
    }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
