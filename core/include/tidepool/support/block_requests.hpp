// SPDX-License-Identifier: Apache-2.0
//
// Requests to backends that cut memory into pages of 4 KiB: these functions refuse, in the same
// words, requests that none of them can serve, and round lengths. Thread-safe: pure functions.
//
// For writers of backends; not stable API: it may change with every version.
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

/// Adds the bytes and the device of the request to a status.
[[nodiscard]] constexpr status complete(status why, std::size_t bytes, device where) noexcept {
  why.requested = bytes;
  why.where = where;
  return why;
}

/// Checks a request that is only a length. Error: out_of_memory (longer than any block).
[[nodiscard]] constexpr status check_length(std::size_t bytes, device where) noexcept {
  return bytes <= largest_block
             ? status{}
             : complete({.code = errc::out_of_memory, .text = "a block is at most 4 TiB long"},
                        bytes, where);
}

/// Checks that a request is valid and for this device. Errors: unknown_device, invalid_argument,
/// out_of_memory (longer than any block).
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

/// The same for several blocks of one small size class. Error: invalid_argument if it is none.
[[nodiscard]] constexpr status check_refill(const block_request& request, device where) noexcept {
  status why = check_request(request, where);
  if (why.ok() && (request.bytes > largest_small_block ||
                   size_of_class(size_class_of(request.bytes)) != request.bytes)) {
    why = complete({.code = errc::invalid_argument, .text = "not a small size class"},
                   request.bytes, where);
  }
  return why;
}

/// Returns the pages that hold this many bytes. Pre: bytes <= largest_block, here and below.
[[nodiscard]] constexpr std::size_t pages_of(std::size_t bytes) noexcept {
  return (bytes + page_bytes - 1) / page_bytes;
}

/// Returns a length in pages, rounded up by at most 1/32. A tensor that grows little by little, as
/// a KV cache does by concatenation, can then reuse the block that an earlier step freed.
[[nodiscard]] constexpr std::size_t pages_with_room(std::size_t bytes) noexcept {
  const std::size_t step = std::max(std::bit_floor(bytes) / 32, page_bytes);
  return (bytes + step - 1) / step * step / page_bytes;
}
static_assert(pages_with_room(100) == 1 && pages_with_room(page_bytes * 16384 + 1) == 16896);

}  // namespace support
}  // namespace v0
}  // namespace tidepool
