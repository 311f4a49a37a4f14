// SPDX-License-Identifier: Apache-2.0
//
// What a figure was measured on. Read from /proc, /sys and uname; what cannot be read stays empty.
#pragma once

#include <cstdint>
#include <string>

namespace tidepool::bench {

struct machine {
  std::string cpu;     ///< model name
  unsigned cores = 0;  ///< that this process may use
  std::string kernel;  ///< name and release
  std::uint64_t memory_bytes = 0;
  std::uint64_t page_bytes = 0;
  std::string huge_pages;  ///< transparent huge pages: "always", "madvise" or "never"
  double load = 0;         ///< mean runnable processes over the last minute
  std::string compiler;
  std::string build_type;
};

[[nodiscard]] machine this_machine();

/// Memory that can be used now without swapping (MemAvailable), in bytes; 0 if unknown.
[[nodiscard]] std::uint64_t available_memory_bytes();

}  // namespace tidepool::bench
