// SPDX-License-Identifier: Apache-2.0
//
// The findings of a pool's debug modes (memory_damage, leak_report) and counts of what they did
// (debug_counts). debug_options.hpp has the options that turn them on.
//
// Values; thread safety is the pool's. core/src/debug/README.md says what each mode finds.
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

/// Bytes of the pool that a program must not have written: misuse_report::damage for
/// misuse_kind::overflow, underflow and write_after_free. Spans and views are valid during the
/// call.
struct memory_damage {
  tensor_id id = {};           ///< the tensor beside which, or after whose end, they were written
  const void* data = nullptr;  ///< of that tensor
  std::size_t bytes = 0;       ///< of that tensor
  device where = {};
  tidepool::category category = category::temporary;
  std::string_view name;
  /// Distance of the first damaged byte from `data`: >= bytes for an overflow, negative for an
  /// underflow.
  std::ptrdiff_t offset = 0;
  std::size_t damaged_bytes = 0;  ///< from the first to the last one that differs
  std::uint8_t found = 0;         ///< value of the first damaged byte
  /// Return addresses, innermost first; empty without call_site_frames.
  std::span<void* const> allocated_at;
  std::span<void* const> freed_at;  ///< empty while the tensor is alive
};
/// Returns some lines for people, with the names of functions in call sites if they are known.
/// Throws std::bad_alloc. Cost: reads the symbol tables of program and libraries once.
[[nodiscard]] TIDEPOOL_EXPORT std::string to_text(const memory_damage& damage);

/// Live tensors of one category and name that were made at one place.
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
/// The same for a leak_report.
[[nodiscard]] TIDEPOOL_EXPORT std::string to_text(const leak_report& report);
/// The same for return addresses, as lines "    function+0x12 (library)".
[[nodiscard]] TIDEPOOL_EXPORT std::string to_text(std::span<void* const> call_site);

/// Counts of the work of a pool's debug modes so far.
struct debug_counts {
  std::uint64_t guarded = 0;         ///< tensors that got canaries or a guard page
  std::uint64_t guard_pages = 0;     ///< of these, with a guard page
  std::uint64_t verified_bytes = 0;  ///< read and compared with what should be there
  std::uint64_t damages = 0;         ///< found and reported
  /// Fills and checks that were left out because the device or the system could not do them.
  std::uint64_t skipped = 0;
  std::size_t quarantined_bytes = 0;   ///< now
  std::size_t quarantined_blocks = 0;  ///< now
  std::size_t call_sites = 0;          ///< different ones seen
};

}  // namespace v0
}  // namespace tidepool
