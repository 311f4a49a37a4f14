// SPDX-License-Identifier: Apache-2.0
//
// Counts for tests and benchmarks: calls of each API function, bytes copied, launches and what they
// did. Never time. Guarded by the runtime's lock.
#pragma once

#include "machine/execution.hpp"

#include <cstdint>
#include <map>
#include <string>

namespace cudasim {

struct counters {
  struct kernel_counts {
    std::uint64_t launches = 0;
    launch_counts done;
  };
  std::map<std::string, std::uint64_t, std::less<>> calls;
  // Not among all calls: those that only set or ask for the current context.
  std::map<std::string, std::uint64_t, std::less<>> context_calls;
  std::map<std::string, kernel_counts, std::less<>> kernels;
  std::uint64_t launches = 0;
  std::uint64_t copies = 0;
  std::uint64_t bytes_to_device = 0;
  std::uint64_t bytes_to_host = 0;
  std::uint64_t bytes_on_device = 0;  // between devices or within one
  std::uint64_t bytes_filled = 0;
  double kernel_seconds = 0;  // of the simulator; for its own speed only
};

}  // namespace cudasim
