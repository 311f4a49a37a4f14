// SPDX-License-Identifier: Apache-2.0
//
// with_closed_gates: the closer's side of every biased lock of a pool.
#pragma once

#include "pool/pool_core.hpp"
#include "system/asymmetric_barrier.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Closes every gate, waits until every owner is out, calls f(cache) for each, then `after`, and
/// opens the gates again unless the front stays closed. Pre: registry_mutex_ is held. f must not
/// block on a thread that may be inside its cache; owners inside never wait for anything.
template <class F, class After>
void pool_core::with_closed_gates(F&& f, After&& after) noexcept {
  for (front_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    close_gate(*cache);
  }
  if (!fenced_ && caches_ != nullptr) {
    asymmetric_barrier();
  }
  for (front_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    wait_for_owner(*cache);
    f(*cache);
  }
  after();
  if (front_open()) {
    for (front_cache* cache = caches_; cache != nullptr; cache = cache->next) {
      open_gate(*cache);
    }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
