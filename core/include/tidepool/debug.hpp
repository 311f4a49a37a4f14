// SPDX-License-Identifier: Apache-2.0
//
// Debug modes of a pool, chosen at run time: what they are (debug_options), what they find
// (memory_damage, leak_report), and what they have done (debug_counts). All are off by default and
// cost nothing then; with any of them on every operation takes the slow path.
//
// Values; thread safety is the pool's. See "Debug modes" in core/README.md for what each finds.
#pragma once

#include <tidepool/attributes.hpp>
#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/ids.hpp>
#include <tidepool/info.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

inline constexpr std::byte fill_of_new_bytes{0xa5};
inline constexpr std::byte fill_of_freed_bytes{0xde};

/// Bytes of the pool that were written without right: misuse_report::damage of misuse_kind::
/// overflow, underflow and write_after_free. Spans and views are valid during the call.
struct memory_damage {
  tensor_id id = {};           ///< the tensor beside which, or after whose end, they were written
  const void* data = nullptr;  ///< of that tensor
  std::size_t bytes = 0;       ///< of that tensor
  device where = {};
  tidepool::category category = category::temporary;
  std::string_view name;
  /// Of the first damaged byte, from `data`: >= bytes for an overflow, negative for an underflow.
  std::ptrdiff_t offset = 0;
  std::size_t damaged_bytes = 0;  ///< from the first to the last one that differs
  std::uint8_t found = 0;         ///< in the first damaged byte
  /// Return addresses, innermost first; empty without call_site_frames.
  std::span<void* const> allocated_at;
  std::span<void* const> freed_at;  ///< empty while the tensor is alive
};
/// Some lines for people, with call sites as function names where they can be found.
/// Throws std::bad_alloc. Cost: reads the symbol tables of program and libraries once.
[[nodiscard]] TIDEPOOL_EXPORT std::string to_text(const memory_damage& damage);

/// Tensors of one category and name that were made at one place.
struct leak_entry {
  tidepool::category category = category::temporary;
  std::string category_name;
  std::string name;            ///< "": none
  std::vector<void*> made_at;  ///< return addresses, innermost first; empty: not recorded
  std::size_t tensors = 0;
  std::size_t bytes = 0;  ///< requested; slices count 0, their bytes are their parents'
};
struct leak_report {
  std::vector<leak_entry> entries;  ///< most bytes first
  std::size_t tensors = 0;          ///< sum over entries
  std::size_t bytes = 0;            ///< sum over entries
};
/// As of memory_damage.
[[nodiscard]] TIDEPOOL_EXPORT std::string to_text(const leak_report& report);
/// Return addresses as lines "    function+0x12 (library)". As of memory_damage.
[[nodiscard]] TIDEPOOL_EXPORT std::string to_text(std::span<void* const> call_site);

/// What the debug modes of a pool have done so far.
struct debug_counts {
  std::uint64_t guarded = 0;         ///< tensors that got canaries or a guard page
  std::uint64_t guard_pages = 0;     ///< of these, with a guard page
  std::uint64_t verified_bytes = 0;  ///< read and compared with what should be there
  std::uint64_t damages = 0;         ///< found and reported
  /// Fills and checks that were left out because the device or the system could not.
  std::uint64_t skipped = 0;
  std::size_t quarantined_bytes = 0;   ///< now
  std::size_t quarantined_blocks = 0;  ///< now
  std::size_t call_sites = 0;          ///< different ones seen
};

}  // namespace v0
}  // namespace tidepool
