// SPDX-License-Identifier: Apache-2.0
//
// latency_sampler: what operations cost, without a clock per operation. A warm operation is timed
// when a magazine's pop count carries (every sample_period pops): the thread's own gate is closed,
// so that the next operation, or the one after, comes to the slow path, which opens the gate again
// and times the ordinary operation. One slow operation in 17 is timed too. The mean weighs both by
// how often each happened.
// Thread safety: relaxed atomics; touched by samples only.
#pragma once

#include "system/cycle_clock.hpp"
#include <tidepool/statistics.hpp>

#include <atomic>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

// Odd: where allocations and frees alternate, both get their share.
inline constexpr std::uint32_t slow_sample_period = 17;

class latency_sampler {
 public:
  latency_sampler() noexcept;

  struct sum {
    std::atomic<std::uint64_t> ticks{0};
    std::atomic<std::uint64_t> count{0};
    void add(std::uint64_t value) noexcept {
      ticks.fetch_add(value, std::memory_order_relaxed);
      count.fetch_add(1, std::memory_order_relaxed);
    }
    [[nodiscard]] double mean() const noexcept;
  };
  struct operation {
    sum warm;
    sum slow;
    /// Of `total` operations, those beyond `warm_operations` were slow.
    [[nodiscard]] latency mean(std::uint64_t warm_operations, std::uint64_t slow_operations,
                               double ns_per_tick) const noexcept;
  };
  operation allocate;
  operation free;

  /// Ticks between two readings of the clock, without the readings' own.
  [[nodiscard]] std::uint64_t elapsed(std::uint64_t begin) const noexcept {
    const std::uint64_t ticks = cycle_clock::now() - begin;
    return ticks > overhead_ ? ticks - overhead_ : 0;
  }
  [[nodiscard]] double ns_per_tick() const noexcept;

 private:
  std::uint64_t overhead_ = 0;
  std::uint64_t born_ticks_ = 0;
  std::uint64_t born_ns_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
