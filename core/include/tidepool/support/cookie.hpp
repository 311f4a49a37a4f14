// SPDX-License-Identifier: Apache-2.0
//
// cookie: the value by which a backend recognises its blocks. It holds the kind of the block, the
// number of its descriptor and, for a block of a span, its number in the span. It is never 0.
//
// For writers of backends; not stable API: it may change with every version.
#pragma once

#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace support {

enum class cookie_kind : std::uint8_t {
  none = 0,
  span = 0x51,    ///< a block of a span, in the heap of small blocks
  extent = 0x52,  ///< an extent of the heap of large blocks
};

// clang-format off
/// The fields of a cookie:
///   bits  0-31  number of the descriptor
///   bits 32-55  number of the block in its span, 0 for an extent
///   bits 56-63  kind
/// Invariant: block < 2^24, so that it cannot overwrite the kind.
// clang-format on
struct cookie {
  cookie_kind kind = cookie_kind::none;
  std::uint32_t index = 0;
  std::uint32_t block = 0;

  [[nodiscard]] constexpr std::uint64_t bits() const noexcept {
    return std::uint64_t{index} | std::uint64_t{block} << 32 |
           std::uint64_t{static_cast<std::uint8_t>(kind)} << 56;
  }
  [[nodiscard]] static constexpr cookie from_bits(std::uint64_t bits) noexcept {
    return {static_cast<cookie_kind>(bits >> 56), static_cast<std::uint32_t>(bits),
            static_cast<std::uint32_t>(bits >> 32) & 0xffffffU};
  }
};
static_assert(cookie::from_bits(cookie{cookie_kind::span, 7, 0xffffff}.bits()).block == 0xffffff);
static_assert(cookie::from_bits(cookie{cookie_kind::span, 7, 0xffffff}.bits()).kind ==
              cookie_kind::span);

}  // namespace support
}  // namespace v0
}  // namespace tidepool
