// SPDX-License-Identifier: Apache-2.0
//
// span_heap: blocks up to 64 KiB, cut from spans of equal blocks. Which blocks are free is known by
// a bitmap in the span's descriptor, so the blocks themselves are never touched. The span with the
// lowest address serves first, so that the others run empty. One empty span per class is kept for
// the next refill. Not thread-safe: the backend's mutex.
#pragma once

#include "descriptors.hpp"
#include "extent_heap.hpp"
#include "os_memory.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/support/span_blocks.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace cpu {

using support::largest_span_block;
using support::span_class_count;
using support::span_class_of;
using support::span_pages;
using support::span_position;

/// Invariant: in the tree of its class exactly when blocks.free > 0.
struct span_record {
  std::uint32_t left = 0;
  std::uint32_t right = 0;
  std::uint64_t emptied = 0;  ///< tick when the last block came back
  support::span_blocks blocks;

  [[nodiscard]] tree_key key() const noexcept { return {blocks.page, 0}; }
};
static_assert(sizeof(span_record) == 168);

class span_heap {
 public:
  span_heap(os_memory& os, extent_heap& extents) noexcept : extents_(extents), spans_(os) {}

  /// Blocks of a size class <= largest_span_block. Post: as backend::refill.
  [[nodiscard]] backend::refill_result refill(std::size_t bytes, bool may_grow,
                                              std::span<block> blocks) noexcept;
  /// Never fails. Pre: owns(position).
  void take_back(span_position position, std::uint64_t epoch) noexcept;
  /// The position is a block handed out, of this address and length.
  [[nodiscard]] bool owns(span_position position, const block& what) const noexcept;

  /// Gives the spans that are kept empty since epoch `last` or before to the extent heap.
  void release_empty(std::uint64_t last) noexcept;

  /// The longest free block, 0: none.
  [[nodiscard]] std::size_t longest_free() const noexcept;

  /// Null, or the first broken invariant.
  [[nodiscard]] const char* check() const noexcept;

 private:
  struct size_bin {
    ordered_tree<span_record> partial;  ///< spans with a free block, by address
    std::uint32_t kept = 0;             ///< one of them that is empty, 0: none
  };

  [[nodiscard]] status add_span(size_bin& bin, std::uint32_t bytes, bool may_grow) noexcept;
  void release_span(size_bin& bin, std::uint32_t index) noexcept;

  extent_heap& extents_;
  descriptor_pool<span_record> spans_;
  std::array<size_bin, span_class_count> bins_{};
};

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
