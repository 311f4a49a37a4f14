// SPDX-License-Identifier: Apache-2.0
//
// How debug modes touch a device's memory: filling bytes, comparing them with a fill, and taking
// pages away from everybody. By the host where it can, else through the backend's fill and copy.
// Knows nothing of tensors. Thread safety: none needed, the caller owns the bytes.
#pragma once

#include "cache/lane.hpp"

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// What differs from a fill: the bytes [first, last] hold all differences.
struct comparison {
  bool readable = true;  ///< false: the backend cannot, nothing is known
  bool differs = false;
  std::size_t first = 0;
  std::size_t last = 0;
  std::uint8_t found = 0;  ///< at `first`
};

/// False: the backend cannot; nothing, or a part, was filled.
[[nodiscard]] bool fill_bytes(const lane& where, void* dst, std::byte value,
                              std::size_t bytes) noexcept;
/// Cost: reads `bytes` bytes; on devices of their own, by copies of 4 KiB.
[[nodiscard]] comparison compare_bytes(const lane& where, const void* src, std::byte value,
                                       std::size_t bytes) noexcept;

/// The system's page size, a power of two.
[[nodiscard]] std::size_t page_bytes() noexcept;
/// May pages of this device's blocks be protected? Pageable host memory only: others are known to
/// drivers by their pages.
[[nodiscard]] bool can_protect(const device_entry& device) noexcept;
/// Makes whole pages accessible to nobody, or to everybody. False: the system refused, nothing
/// changed. Pre: [data, data + bytes) are whole pages of a block.
[[nodiscard]] bool protect_pages(void* data, std::size_t bytes, bool accessible) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
