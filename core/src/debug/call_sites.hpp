// SPDX-License-Identifier: Apache-2.0
//
// call_site_table: places in the program as lists of return addresses. It keeps each different
// place once and gives it a number. Recording a place reads no symbol table; only reports do.
//
// Thread safety: any thread; one mutex.
#pragma once

#include "system/symbols.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

class call_site_table {
 public:
  /// frames: number of frames of tidepool's callers to keep for each place; 0: record nothing.
  explicit call_site_table(unsigned frames) noexcept : frames_(frames) {}

  /// Returns the number of the place that runs now; 0 if there is no memory, or if the table
  /// records nothing. Cost: unwinding, about a microsecond.
  [[nodiscard]] std::uint32_t here() noexcept;
  /// Returns the return addresses of a place, innermost first, without tidepool's own; none for 0.
  /// They are valid as long as the table. Cost: the first call for a place reads symbol tables.
  [[nodiscard]] std::span<void* const> frames(std::uint32_t site) noexcept;
  [[nodiscard]] std::size_t count() const noexcept;

 private:
  struct place {
    std::vector<void*> addresses;  // those of tidepool itself come first
    std::size_t own = 0;           // number of tidepool's own addresses
    bool known = false;            // false: `own` was not counted yet
  };
  const unsigned frames_;
  mutable std::mutex mutex_;
  std::deque<place> places_;                                     // guarded by mutex_; [site - 1]
  std::unordered_multimap<std::uint64_t, std::uint32_t> sites_;  // guarded by mutex_; by hash
  symbol_finder symbols_;                                        // guarded by mutex_
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
