// SPDX-License-Identifier: Apache-2.0
//
// What the debug modes of a pool find (memory_damage, leak_report) and what they have done
// (debug_counts). How a pool gets them is in debug_options.hpp.
//
// Values; thread safety is the pool's. See "Debug modes" in core/README.md for what each finds.
#pragma once

#include <tidepool/attributes.hpp>
#include <tidepool/debug_options.hpp>
#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/ids.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tidepool {
inline namespace v0 {

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
