// SPDX-License-Identifier: Apache-2.0
//
// Debug modes of a pool, chosen at run time. All are off by default and cost nothing then; with any
// of them on, every operation takes the slow path. What they find is in debug.hpp, which a program
// includes only where it reads a finding.
//
// Values; thread safety is the pool's. See "Debug modes" in core/README.md for what each finds.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {

struct leak_report;

/// What stands around the bytes of a tensor.
enum class guard_mode : std::uint8_t {
  none = 0,
  /// A known pattern from the first byte behind the tensor's last one to the end of its block, at
  /// least 16 bytes, and in front of the tensor; checked when the tensor ends and on demand.
  canary = 1,
  /// The tensor ends, up to its alignment, where a page begins that nobody may read or write: an
  /// overflow traps at once. The bytes up to that page and before the tensor have the pattern.
  /// Pageable host memory only; others, and where the system refuses, get canaries.
  pages = 2,
};

/// Called when a pool closes with live tensors, outside every lock. Must not throw, and may not
/// allocate from the pool or free its tensors.
using leak_handler = void (*)(const leak_report& report, void* context);

/// Which debug modes a pool has. The environment variable TIDEPOOL adds to them and wins, e.g.
///   TIDEPOOL=poison,guard=canary,quarantine=64MiB,sites=8,leaks
struct debug_options {
  /// Fill a tensor's bytes with 0xa5 when it is made, and its block with 0xde when it ends. A write
  /// after the end is found when the block is used again by the pool's ready list.
  bool poison = false;
  guard_mode guard = guard_mode::none;
  /// Ended tensors' blocks are held back up to so many bytes, filled with 0xde; the oldest leave
  /// first, and writes to them are found then. With guard pages they cannot even be read meanwhile.
  std::size_t quarantine_bytes = 0;
  /// Return addresses recorded where a tensor is made and where it ends, 0..most_call_site_frames.
  unsigned call_site_frames = 0;
  /// When the pool closes with live tensors: by category, name and call site.
  bool report_leaks = false;
  leak_handler on_leaks = nullptr;  ///< null: text on stderr
  void* leaks_context = nullptr;

  static constexpr unsigned most_call_site_frames = 16;
  [[nodiscard]] constexpr bool any() const noexcept {
    return poison || guard != guard_mode::none || quarantine_bytes != 0 || call_site_frames != 0 ||
           report_leaks;
  }
};

}  // namespace v0
}  // namespace tidepool
