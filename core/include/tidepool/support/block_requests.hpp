// SPDX-License-Identifier: Apache-2.0
//
// What backends that cut memory into pages of 4 KiB do with a request: refuse, in the same words,
// what none of them can serve, and round lengths. For writers of backends. Thread-safe: pure.
// Not a stable interface: any version of tidepool may change it.
#pragma once

#include <tidepool/backend.hpp>
#include <tidepool/device.hpp>
#include <tidepool/result.hpp>
#include <tidepool/size_class.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>

namespace tidepool {
inline namespace v0 {
namespace support {

inline constexpr std::size_t page_bytes = 4096;  ///< the unit of extents, not a GPU's
inline constexpr std::size_t largest_alignment = std::size_t{1} << 30;
inline constexpr std::size_t largest_block = std::size_t{1} << 42;  ///< pages fit 31 bits

/// The status with what it is about: so many bytes, on this device.
[[nodiscard]] constexpr status complete(status why, std::size_t bytes, device where) noexcept {
  why.requested = bytes;
  why.where = where;
  return why;
}

/// errc::out_of_memory: longer than any block. Where a request has only a length.
[[nodiscard]] constexpr status check_length(std::size_t bytes, device where) noexcept {
  return bytes <= largest_block
             ? status{}
             : complete({.code = errc::out_of_memory, .text = "a block is at most 4 TiB long"},
                        bytes, where);
}

/// Is it a request, and for this device? errc::unknown_device, errc::invalid_argument,
/// errc::out_of_memory (longer than any block).
[[nodiscard]] constexpr status check_request(const block_request& request, device where) noexcept {
  const auto invalid = [&](const char* text) noexcept {
    return complete({.code = errc::invalid_argument, .text = text}, request.bytes, where);
  };
  if (request.where != where) {
    return {.code = errc::unknown_device, .where = request.where};
  }
  if (request.bytes == 0) {
    return invalid("a block has at least one byte");
  }
  if (request.alignment != 0 &&
      (!std::has_single_bit(request.alignment) || request.alignment > largest_alignment)) {
    return invalid("an alignment is a power of two up to 1 GiB");
  }
  return check_length(request.bytes, where);
}

/// The same for several blocks of one small size class; errc::invalid_argument where it is none.
[[nodiscard]] constexpr status check_refill(const block_request& request, device where) noexcept {
  status why = check_request(request, where);
  if (why.ok() && (request.bytes > largest_small_block ||
                   size_of_class(size_class_of(request.bytes)) != request.bytes)) {
    why = complete({.code = errc::invalid_argument, .text = "not a small size class"},
                   request.bytes, where);
  }
  return why;
}

/// Pages of page_bytes that hold so many bytes. Pre: bytes <= largest_block, here and below.
[[nodiscard]] constexpr std::size_t pages_of(std::size_t bytes) noexcept {
  return (bytes + page_bytes - 1) / page_bytes;
}

/// Lengths that grow little by little, as a KV cache by concatenation does, are rounded to steps of
/// at most 1/32, so that the block freed by one step serves a later one. In pages.
[[nodiscard]] constexpr std::size_t pages_with_room(std::size_t bytes) noexcept {
  const std::size_t step = std::max(std::bit_floor(bytes) / 32, page_bytes);
  return (bytes + step - 1) / step * step / page_bytes;
}
static_assert(pages_with_room(100) == 1 && pages_with_room(page_bytes * 16384 + 1) == 16896);

}  // namespace support
}  // namespace v0
}  // namespace tidepool
