// SPDX-License-Identifier: Apache-2.0
//
// span_blocks: a run of pages cut into equal small blocks, with a bitmap of the free ones, so that
// the blocks themselves are never touched. The heap that has the spans decides which span serves,
// which empty one is kept, and what a free has to wait for. It is plain data, meant as a field of a
// descriptor. Not thread-safe.
//
// For writers of backends; not stable API: it may change with every version.
#pragma once

#include <tidepool/backend.hpp>
#include <tidepool/size_class.hpp>
#include <tidepool/support/block_requests.hpp>
#include <tidepool/support/cookie.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace support {

inline constexpr std::size_t largest_span_block = std::size_t{64} << 10;
/// Size classes of blocks that spans serve, numbered from 0 by span_class_of.
inline constexpr unsigned span_class_count =
    size_class_of(largest_span_block) - first_size_class + 1;

/// Pre: bytes <= largest_span_block.
[[nodiscard]] constexpr unsigned span_class_of(std::size_t bytes) noexcept {
  return size_class_of(bytes) - first_size_class;
}

/// Returns the pages of a span of such blocks if memory is plentiful: room for 32 blocks, but 64 to
/// 512 KiB, and at most 1/32 of it unused. Pre: a size class <= largest_span_block.
[[nodiscard]] constexpr std::uint32_t span_pages(std::size_t block_bytes) noexcept {
  std::size_t pages =
      pages_of(std::clamp(32 * block_bytes, std::size_t{64} << 10, std::size_t{512} << 10));
  while (pages * page_bytes % block_bytes > pages * page_bytes / 32) {
    ++pages;
  }
  return static_cast<std::uint32_t>(pages);
}

/// A block of a span, as its cookie names it.
struct span_position {
  std::uint32_t span = 0;
  std::uint32_t block = 0;
};

/// A run of pages of a heap, to be carved into blocks.
struct page_run {
  std::uint32_t extent = 0;  ///< the heap's number for it, not 0
  std::uint64_t page = 0;    ///< the first: address / page_bytes
  std::size_t pages = 0;
};

/// Invariant: free == set bits of `words`, all below `count`.
struct span_blocks {
  static constexpr unsigned most_blocks = 1024;

  std::uint64_t page = 0;    ///< where the blocks begin: address / page_bytes
  std::uint32_t extent = 0;  ///< the extent they were carved from; 0: the descriptor is unused
  std::uint32_t block_bytes = 0;
  std::uint32_t count = 0;  ///< blocks
  std::uint32_t free = 0;
  std::array<std::uint64_t, most_blocks / 64> words{};  ///< set: the block is free

  [[nodiscard]] bool is_empty() const noexcept { return free == count; }

  /// Cuts the pages into blocks, all of them free. Pre: unused; one block fits in the pages.
  void carve(const page_run& home, std::size_t bytes) noexcept {
    page = home.page;
    extent = home.extent;
    block_bytes = static_cast<std::uint32_t>(bytes);
    count = static_cast<std::uint32_t>(
        std::min<std::size_t>(home.pages * page_bytes / bytes, most_blocks));
    free = count;
    for (std::uint32_t i = 0; i < count; i += 64) {
      words[i / 64] = ~std::uint64_t{0} >> (64 - std::min(count - i, 64U));
    }
  }

  /// Hands out free blocks, those at low addresses first. `span` is the number in their cookies.
  /// Returns how many, which is fewer than asked for if no more are free.
  [[nodiscard]] std::size_t take(std::uint32_t span, std::span<block> blocks) noexcept {
    // Read once: the compiler cannot know that writing to `blocks` leaves `page` as it is.
    const std::uintptr_t base = address_of(0);
    std::size_t done = 0;
    for (std::uint32_t w = 0; w * 64 < count && done != blocks.size(); ++w) {
      std::uint64_t word = words[w];
      for (; word != 0 && done != blocks.size(); word &= word - 1) {
        const std::uint32_t i = w * 64 + static_cast<std::uint32_t>(std::countr_zero(word));
        const std::uintptr_t address = base + std::uintptr_t{i} * block_bytes;
        blocks[done++] = {.data = reinterpret_cast<void*>(address),  // NOLINT: pages are numbers
                          .bytes = block_bytes,
                          .cookie = cookie{cookie_kind::span, span, i}.bits()};
      }
      words[w] = word;
    }
    free -= static_cast<std::uint32_t>(done);
    return done;
  }

  /// Takes one block back. Pre: it was handed out, see owns.
  void put(std::uint32_t number) noexcept {
    words[number / 64] |= std::uint64_t{1} << (number % 64);
    ++free;
  }

  /// Is the block of this number handed out, and has it this address and length?
  [[nodiscard]] bool owns(std::uint32_t number, const block& handed_out) const noexcept {
    return extent != 0 && number < count && handed_out.bytes == block_bytes &&
           reinterpret_cast<std::uintptr_t>(handed_out.data) == address_of(number) &&
           !is_free(number);
  }

  /// Returns null, or the first broken invariant. `pages` is the length of the run of pages.
  [[nodiscard]] const char* check(std::size_t pages) const noexcept {
    if (count == 0 || std::size_t{count} * block_bytes > pages * page_bytes) {
      return "spans: the blocks of a span are longer than its extent";
    }
    std::uint32_t found = 0;
    for (std::uint32_t i = 0; i != most_blocks; ++i) {
      if (is_free(i) && i >= count) {
        return "spans: a block beyond the span is free";
      }
      found += is_free(i) ? 1U : 0U;
    }
    return found == free ? nullptr : "spans: the free blocks of a span are not what was counted";
  }

 private:
  [[nodiscard]] std::uintptr_t address_of(std::uint32_t number) const noexcept {
    return page * page_bytes + std::uintptr_t{number} * block_bytes;
  }
  [[nodiscard]] bool is_free(std::uint32_t number) const noexcept {
    return (words[number / 64] >> (number % 64) & 1U) != 0;
  }
};
static_assert(sizeof(span_blocks) == 152);

}  // namespace support
}  // namespace v0
}  // namespace tidepool
