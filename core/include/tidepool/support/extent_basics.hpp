// SPDX-License-Identifier: Apache-2.0
//
// The common part of heaps of extents (runs of pages): the use of an extent, and the first page of
// an aligned one. Each heap keeps and finds extents in its own way. Thread-safe: pure functions.
//
// For writers of backends; not stable API: it may change with every version.
#pragma once

#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace support {

enum class extent_state : std::uint8_t {
  unused,  ///< the descriptor has no pages
  free,
  block,  ///< one block that is handed out
  span,   ///< carved into small blocks, see span_blocks
};

/// The first page at or after `page` that is a multiple of `alignment`, a power of two.
[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t page,
                                               std::uint32_t alignment) noexcept {
  return (page + alignment - 1) & ~(std::uint64_t{alignment} - 1);
}
static_assert(align_up(9, 8) == 16 && align_up(16, 8) == 16 && align_up(5, 1) == 5);

}  // namespace support
}  // namespace v0
}  // namespace tidepool
