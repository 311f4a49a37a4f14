// SPDX-License-Identifier: Apache-2.0
//
// timing_cost: what timing an operation adds to it or leaves out, in ticks of the cycle clock,
// found out once in a process.
// Not here: what is timed and when (latency_sampler.hpp).
// Thread safety: callable from any thread.
#pragma once

namespace tidepool {
inline namespace v0 {
namespace detail {

struct timing_cost {
  /// Of one reading of the clock. A timed slow operation waits for two and lies between them, so
  /// its ticks are short of one.
  double reading = 0;
  /// By how much a sampled warm operation reads longer than it takes. The readings fence it off, so
  /// that it runs alone, where in a program it overlaps with what comes before and after: the
  /// difference is many times the operation. An operation of the same shape, sampled in the same
  /// way and timed in a run, has this difference. What a sample reads beyond, misses of the
  /// processor's cache for example, stays in it.
  double warm = 0;
  /// Of a warm operation in a run that has all it needs in the nearest cache: none takes less.
  double least = 0;
};

/// Cost: about a millisecond in the first call.
[[nodiscard]] timing_cost cost_of_timing() noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
