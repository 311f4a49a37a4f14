// SPDX-License-Identifier: Apache-2.0
//
// call_site_table: places in the program, as return addresses, each different one kept once under
// a number. Recording one does not look at any symbol table; that is for reports.
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
  /// frames: of the callers of tidepool, to be kept per site; 0: none is ever recorded.
  explicit call_site_table(unsigned frames) noexcept : frames_(frames) {}

  /// The number of the place that is executed now; 0 without memory, or when none is recorded.
  /// Cost: unwinding, about a microsecond.
  [[nodiscard]] std::uint32_t here() noexcept;
  /// The return addresses of a place, innermost first, without tidepool's own. Valid as long as the
  /// table. Empty for 0. Cost: the first time for a place, symbol tables.
  [[nodiscard]] std::span<void* const> frames(std::uint32_t site) noexcept;
  [[nodiscard]] std::size_t count() const noexcept;

 private:
  struct place {
    std::vector<void*> addresses;  // tidepool's own first
    std::size_t own = 0;           // how many those are
    bool known = false;            // own is
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
