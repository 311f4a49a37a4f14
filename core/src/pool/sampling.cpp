// SPDX-License-Identifier: Apache-2.0
//
// thread_caches: latency samples. A thread closes its own gate, so that one of its next operations
// comes by the slow path, which opens the gate again and times the ordinary operation.
#include "pool/thread_caches.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

void thread_caches::arm_sample(front_cache& cache, std::uint32_t operations) noexcept {
  if (list.close_own(cache, *this)) {
    cache.sampling = operations;
  }
}

thread_caches::sample thread_caches::take_sample(front_cache& cache) noexcept {
  const bool now = cache.sampling == 1;
  cache.sampling = 0;
  if (!list.open_own(cache, *this)) {
    return sample::none;
  }
  return now ? sample::time : sample::pass;
}

bool thread_caches::take_slow_sample(front_cache* cache) noexcept {
  return cache != nullptr && cache->slow_count++ % slow_sample_period == 0;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
