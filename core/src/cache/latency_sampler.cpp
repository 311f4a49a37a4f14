// SPDX-License-Identifier: Apache-2.0
//
// latency_sampler: sums and counters.
#include "cache/latency_sampler.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

latency_sums& latency_sums::operator+=(const latency_sums& other) noexcept {
  slow_ticks += other.slow_ticks;
  slow_count += other.slow_count;
  slow_uncounted += other.slow_uncounted;
  warm_ticks += other.warm_ticks;
  warm_weight += other.warm_weight;
  warm_samples += other.warm_samples;
  return *this;
}

void latency_counters::add(const latency_sums& more) noexcept {
  const auto add_to = [](std::atomic<std::uint64_t>& to, std::uint64_t by) {
    if (by != 0) {
      to.fetch_add(by, std::memory_order_relaxed);
    }
  };
  add_to(slow_ticks_, more.slow_ticks);
  add_to(slow_count_, more.slow_count);
  add_to(slow_uncounted_, more.slow_uncounted);
  add_to(warm_ticks_, more.warm_ticks);
  add_to(warm_weight_, more.warm_weight);
  add_to(warm_samples_, more.warm_samples);
}

latency_sums latency_counters::sums() const noexcept {
  return {.slow_ticks = slow_ticks_.load(std::memory_order_relaxed),
          .slow_count = slow_count_.load(std::memory_order_relaxed),
          .slow_uncounted = slow_uncounted_.load(std::memory_order_relaxed),
          .warm_ticks = warm_ticks_.load(std::memory_order_relaxed),
          .warm_weight = warm_weight_.load(std::memory_order_relaxed),
          .warm_samples = warm_samples_.load(std::memory_order_relaxed)};
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
