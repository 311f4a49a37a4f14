// SPDX-License-Identifier: Apache-2.0
//
// thread_caches: latency samples. A thread closes its own gate, so that one of its next operations
// comes by the slow path, which opens the gate again and times the ordinary operation.
#include "pool/this_thread.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

void thread_caches::arm_sample(front_cache& cache, std::uint32_t operations) noexcept {
  const std::lock_guard lock(mutex_);
  if (cache.owner.load(std::memory_order_relaxed) != this || !may_open()) {
    return;
  }
  cache.sampling = operations;
  close_gate(cache);
}

thread_caches::sample thread_caches::take_sample(front_cache& cache) noexcept {
  const bool now = --cache.sampling == 0;
  cache.sampling = 0;
  const std::lock_guard lock(mutex_);
  if (cache.owner.load(std::memory_order_relaxed) != this || !may_open()) {
    return sample::none;
  }
  open_gate(cache);
  return now ? sample::time : sample::pass;
}

bool thread_caches::take_slow_sample(front_cache* cache) noexcept {
  return cache != nullptr && cache->slow_count++ % slow_sample_period == 0;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
