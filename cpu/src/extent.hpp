// SPDX-License-Identifier: Apache-2.0
//
// extent: a run of pages of one arena, free or in use, and the count of claims.
// Extents tile an arena from page 0 to its frontier; two free ones are never neighbours.
#pragma once

#include "descriptors.hpp"
#include "os_memory.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/result.hpp>
#include <tidepool/support/extent_basics.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace cpu {

using support::align_up;
using support::extent_state;

/// Invariants: backed <= pages; in use: backed == pages. The queue links hold only while free and
/// backed > 0.
struct extent {
  std::uint32_t left = 0;  ///< of the tree it is in while free
  std::uint32_t right = 0;
  std::uint32_t older = 0;  ///< in the queue of free memory by age
  std::uint32_t newer = 0;
  std::uint64_t page = 0;       ///< address / page_bytes
  std::uint64_t epoch = 0;      ///< tick of the last free of its memory
  std::size_t block_bytes = 0;  ///< length of the block handed out
  std::uint32_t pages = 0;
  std::uint32_t backed = 0;  ///< pages with memory behind them
  std::uint32_t arena = 0;
  std::uint32_t span = 0;  ///< number of the span
  extent_state state = extent_state::unused;

  /// Best fit, then the lowest address.
  [[nodiscard]] tree_key key() const noexcept { return {pages, page}; }
  [[nodiscard]] void* address() const noexcept {
    return reinterpret_cast<void*>(page * page_bytes);
  }
};
static_assert(sizeof(extent) == 64);

[[nodiscard]] constexpr status refused_by_system(int error) noexcept {
  return {.code = errc::out_of_memory, .native = error};
}

/// The pages that the backend has claimed from its host. Invariant: pages == set bits of all
/// arenas.
struct claims {
  backend_host* host = nullptr;  ///< null: no limit
  device where = {};
  std::size_t pages = 0;
  /// A test may order the machine to be full at so many pages: fault_options::exhaust_at.
  std::size_t most_pages = SIZE_MAX;

  [[nodiscard]] status claim(std::size_t n) noexcept {
    if (n != 0 && (n > most_pages || pages > most_pages - n)) {
      return refused_by_system(ENOMEM);
    }
    if (n != 0 && host != nullptr && !host->claim(where, n * page_bytes)) {
      return {.code = errc::over_budget};
    }
    pages += n;
    return {};
  }
  void unclaim(std::size_t n) noexcept {
    pages -= n;
    if (n != 0 && host != nullptr) {
      host->unclaim(where, n * page_bytes);
    }
  }
};

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
