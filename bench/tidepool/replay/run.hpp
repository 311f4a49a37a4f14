// SPDX-License-Identifier: Apache-2.0
//
// A whole replay: builds the allocators, runs their passes in turn on all threads and sums up.
//
// Every round runs one pass of each contestant; the first round is cold and in a fixed order, the
// others are warm and in an order shuffled with a fixed seed, so that what else the machine does
// hits all of them. Times of warm rounds only go into the medians.
#pragma once

#include "tidepool/replay/accesses.hpp"
#include "tidepool/replay/pass.hpp"
#include "tidepool/replay/plan.hpp"
#include <tidepool/device.hpp>
#include <tidepool/prewarm.hpp>
#include <tidepool/result.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tidepool::bench {

enum class prewarm_mode : std::uint8_t { none, seed, trace };

struct replay_settings {
  device where = device::cpu();
  touch_mode touch = touch_mode::none;
  /// Threads that each replay a copy of the trace with ids of their own; 0: the plan's own threads.
  unsigned copies = 0;
  unsigned warm_passes = 5;
  std::size_t chunk = 128;
  std::size_t limit_bytes = SIZE_MAX;
  bool peers = true;
  bool progress = false;  ///< a bar on stderr
  prewarm_mode prewarm = prewarm_mode::none;
};

/// One contestant's figures. Times are ns per operation, over all chunks of all threads.
struct contestant_figures {
  std::string name;
  double median_ns = 0;
  double p99_ns = 0;
  double cold_median_ns = 0;
  double mean_ns = 0;           ///< over the warm passes
  double page_faults = 0;       ///< per operation, warm
  double cold_page_faults = 0;  ///< per operation, first pass
  std::uint64_t failures = 0;   ///< allocations without memory, all passes
  std::optional<std::uint64_t> peak_reserved_bytes;
  std::optional<double> hit_rate;
  std::optional<double> hit_rate_cold;
  std::optional<double> system_calls;  ///< for memory, per operation, warm
};

struct replay_figures {
  unsigned threads = 1;
  std::uint64_t operations = 0;                 ///< of one pass of all threads
  std::uint64_t peak_live_bytes = 0;            ///< of all copies together
  std::vector<contestant_figures> contestants;  ///< tidepool first, "(nothing)" last
  std::uint64_t misuses = 0;                    ///< that the pool reported: a defect if not 0
  std::uint64_t leaked = 0;                     ///< tensors alive afterwards: a defect if not 0
  std::uint64_t prewarmed_bytes = 0;
  std::uint32_t streams = 0;  ///< of the trace, replayed as streams of the device
  /// Of the trace's reads; none where they were not replayed.
  std::optional<access_figures> accesses;
};

/// Why a replay did not run, in one sentence.
struct replay_failure {
  std::string reason;
};

/// Figures, or the reason why there are none.
struct replay_outcome {
  std::optional<replay_figures> figures;
  replay_failure failure;
};
/// Replays `plan`, whose names and categories are renamed to the pool's. Throws bad_alloc only.
[[nodiscard]] replay_outcome run_replay(replay_plan& plan, const replay_settings& settings);

}  // namespace tidepool::bench
