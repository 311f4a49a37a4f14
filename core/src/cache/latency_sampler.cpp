// SPDX-License-Identifier: Apache-2.0
//
// latency_sampler: calibration and means.
#include "cache/latency_sampler.hpp"

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace detail {

latency_sampler::latency_sampler() noexcept
    : overhead_(UINT64_MAX), born_ticks_(cycle_clock::now()), born_ns_(cycle_clock::steady_ns()) {
  for (int i = 0; i < 64; ++i) {
    const std::uint64_t begin = cycle_clock::now();
    overhead_ = std::min(overhead_, cycle_clock::now() - begin);
  }
}

double latency_sampler::ns_per_tick() const noexcept {
  const std::uint64_t ticks = cycle_clock::now() - born_ticks_;
  const std::uint64_t ns = cycle_clock::steady_ns() - born_ns_;
  return ticks == 0 ? 1.0 : static_cast<double>(ns) / static_cast<double>(ticks);
}

double latency_sampler::sum::mean() const noexcept {
  const auto n = count.load(std::memory_order_relaxed);
  return n == 0
             ? 0.0
             : static_cast<double>(ticks.load(std::memory_order_relaxed)) / static_cast<double>(n);
}

latency latency_sampler::operation::mean(std::uint64_t warm_operations,
                                         std::uint64_t slow_operations,
                                         double ns_per_tick) const noexcept {
  latency answer;
  const std::uint64_t warm_samples = warm.count.load(std::memory_order_relaxed);
  const std::uint64_t slow_samples = slow.count.load(std::memory_order_relaxed);
  answer.samples = warm_samples + slow_samples;
  const double warm_weight = warm_samples == 0 ? 0.0 : static_cast<double>(warm_operations);
  const double slow_weight = slow_samples == 0 ? 0.0 : static_cast<double>(slow_operations);
  if (warm_weight + slow_weight > 0) {
    answer.mean_ns = ns_per_tick * (warm.mean() * warm_weight + slow.mean() * slow_weight) /
                     (warm_weight + slow_weight);
  }
  return answer;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
