// SPDX-License-Identifier: Apache-2.0
//
// Debug modes of a pool, chosen at run time. All are off by default and cost nothing then; if one
// is on, every operation takes the slow path. debug.hpp has their findings; a program includes it
// only where it reads a finding.
//
// Values; thread safety is the pool's. core/src/debug/README.md says what each mode finds.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {

struct leak_report;

/// The guards around the bytes of a tensor.
enum class guard_mode : std::uint8_t {
  none = 0,
  /// A known pattern in front of the tensor, and behind it up to the end of its block, at least 16
  /// bytes. It is checked when the tensor ends and on demand.
  canary = 1,
  /// The tensor ends, up to its alignment, in front of a page that cannot be read or written, so an
  /// overflow traps at once. The bytes between tensor and page, and before the tensor, have the
  /// pattern. Only pageable host memory has such pages; other memory, and every tensor for which
  /// the system refuses, gets canaries.
  pages = 2,
};

/// The pool calls it outside every lock when it closes with live tensors. It must not throw, and
/// must not allocate from the pool or free its tensors.
using leak_handler = void (*)(const leak_report& report, void* context);

/// The debug modes of a pool. The environment variable TIDEPOOL adds to them and wins, for example
///   TIDEPOOL=poison,guard=canary,quarantine=64MiB,sites=8,leaks
struct debug_options {
  /// Fill a tensor's bytes with 0xa5 when it is made, and its block with 0xde when it ends. A write
  /// after the end is found when the block is used again by the pool's ready list.
  bool poison = false;
  guard_mode guard = guard_mode::none;
  /// Most bytes of ended tensors' blocks that are held back, filled with 0xde. The oldest leave
  /// first, and writes to them are found then. With guard pages they cannot even be read meanwhile.
  std::size_t quarantine_bytes = 0;
  /// Number of return addresses that are recorded when a tensor is made and when it ends,
  /// 0..most_call_site_frames.
  unsigned call_site_frames = 0;
  /// Report live tensors when the pool closes, by category, name and call site.
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
