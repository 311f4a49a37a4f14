// SPDX-License-Identifier: Apache-2.0
//
// Access of debug modes to a device's memory: they fill bytes, compare bytes with a fill, and
// protect pages. The host does so if it can reach the memory; else the backend's fill and copy do.
// This file knows nothing of tensors. Thread safety: none needed, because the caller owns the
// bytes.
#pragma once

#include "cache/lane.hpp"

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// The result of a comparison with a fill: the bytes [first, last] contain all differences.
struct comparison {
  bool readable = true;  ///< false: the backend cannot read the bytes, so nothing is known
  bool differs = false;
  std::size_t first = 0;
  std::size_t last = 0;
  std::uint8_t found = 0;  ///< at `first`
};

/// Fills bytes. False: the backend cannot fill them, and may have filled a part.
[[nodiscard]] bool fill_bytes(const lane& where, void* dst, std::byte value,
                              std::size_t bytes) noexcept;
/// Compares bytes with a fill. Cost: reads them all; memory that the host cannot reach is copied in
/// pieces of 4 KiB.
[[nodiscard]] comparison compare_bytes(const lane& where, const void* src, std::byte value,
                                       std::size_t bytes) noexcept;

/// The system's page size, a power of two.
[[nodiscard]] std::size_t page_bytes() noexcept;
/// May pages of this device's blocks be protected? Only pages of pageable host memory may, because
/// drivers keep track of the pages of other memory.
[[nodiscard]] bool can_protect(const device_entry& device) noexcept;
/// Protects whole pages against every access, or makes them accessible again. False: the system
/// refused and nothing changed. Pre: [data, data + bytes) are whole pages of a block.
[[nodiscard]] bool protect_pages(void* data, std::size_t bytes, bool accessible) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
