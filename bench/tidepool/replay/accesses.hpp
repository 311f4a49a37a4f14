// SPDX-License-Identifier: Apache-2.0
//
// The recorded reads of a trace, replayed through access_tracker::record: what batches of accesses
// cost in a real sequence, and which tensors are hot and cold in it. A pass of its own, beside the
// replay of allocations: tensors have entries here, but no bytes.
#pragma once

#include "tidepool/replay/plan.hpp"
#include "trace/error.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tidepool::bench {

struct access_figures {
  std::uint64_t reads = 0;     ///< of one pass
  std::uint64_t batches = 0;   ///< calls of record
  std::uint64_t left_out = 0;  ///< reads of tensors without an entry
  double ns_per_read = 0;      ///< median over the passes; two readings of the clock per stretch of
                               ///< batches included
  struct ranked {
    std::string name;  ///< the tensor's
    std::uint32_t part = UINT32_MAX;
    std::uint64_t count = 0;
  };
  std::vector<ranked> hottest;  ///< most reads first, at the end of the trace; at most 5
  std::vector<ranked> coldest;  ///< fewest reads first
};

/// Replays the reads of `plan` `passes` times, once at least, each time in a new pool. A plan
/// without reads: all figures 0. Errors: out_of_memory.
[[nodiscard]] trace::result<access_figures> replay_accesses(const replay_plan& plan,
                                                            unsigned passes) noexcept;

}  // namespace tidepool::bench
