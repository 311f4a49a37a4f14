// SPDX-License-Identifier: Apache-2.0
//
// cookie: what the backend writes into a block to know it again: kind, descriptor and, for a block
// of a span, its number there. Never 0. For writers of backends.
// Not a stable interface: any version of tidepool may change it.
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

/// Bits 0-31: descriptor, 32-47: block in the span, 56-63: kind.
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
static_assert(cookie::from_bits(cookie{cookie_kind::span, 7, 1023}.bits()).block == 1023);

}  // namespace support
}  // namespace v0
}  // namespace tidepool
