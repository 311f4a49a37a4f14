// SPDX-License-Identifier: Apache-2.0
//
// span_heap: blocks up to 64 KiB, cut from spans of equal blocks. A span belongs to one stream,
// whose frees and allocations need nothing but its bitmap. A block that comes back from another
// stream makes the span owe: it serves again when its own stream has waited for the other, or the
// other is done. Where the host uses the memory itself (host order), every free makes it owe and
// only completion pays. Not thread-safe: device_memory's mutex. No function throws.
#pragma once

#include "heap/extent_heap.hpp"
#include "heap/stream_order.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/support/span_blocks.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace cuda {

using support::largest_span_block;
using support::span_class_count;
using support::span_class_of;
using support::span_pages;
using support::span_position;

/// Invariant: in a tree of its stream and class exactly when blocks.free > 0: `partial` if it owes
/// nothing, else `owing`.
struct span_record {
  std::uint32_t left = 0;
  std::uint32_t right = 0;
  stream_index owner = no_stream;
  stream_set owes;  ///< streams to be waited for
  support::span_blocks blocks;

  [[nodiscard]] support::tree_key key() const noexcept { return {blocks.page, 0}; }
};

/// How far span_heap::settle may go to free a span of what it owes.
enum class settlement : std::uint8_t {
  known,    ///< only if the work is known to be complete, or an event says so
  by_wait,  ///< by making the span's stream wait
};

class span_heap {
 public:
  /// With host_order, memory serves only when the work on it is complete.
  span_heap(extent_heap& extents, stream_order& order, bool host_order) noexcept
      : extents_(extents), order_(order), host_order_(host_order) {}

  /// Errors: out_of_memory.
  [[nodiscard]] status make_bins(stream_index count) noexcept;
  /// Room for add. Errors: out_of_memory.
  [[nodiscard]] status reserve() noexcept;

  /// Takes blocks from spans of the stream that owe nothing. Returns how many.
  [[nodiscard]] std::size_t take(stream_index s, std::size_t bytes,
                                 std::span<block> blocks) noexcept;
  /// Takes blocks from one span. Pre: it owes nothing, or the requester may use its memory anyhow.
  [[nodiscard]] std::size_t take_from(std::uint32_t index, std::span<block> blocks) noexcept;
  /// Frees one span of the stream and class of what it owes. False: none could be. This and adopt
  /// give the mutex up while they call the driver.
  [[nodiscard]] bool settle(stream_index s, std::size_t bytes, settlement how,
                            stream_order::lock_type& lock) noexcept;
  /// Gives this stream a span of another one that has a free block; this stream waits for the
  /// other. Pre: no host order.
  [[nodiscard]] bool adopt(stream_index s, std::size_t bytes,
                           stream_order::lock_type& lock) noexcept;
  /// Carves an extent in use. Pre: reserve.
  std::uint32_t add(stream_index s, std::size_t bytes, std::uint32_t extent_index) noexcept;

  /// Never fails. Pre: owns(position).
  void take_back(span_position position, stream_index s) noexcept;
  void take_back(span_position position, const stream_set& after_all_of) noexcept;
  /// The position is a block handed out, of this address and length.
  [[nodiscard]] bool owns(span_position position, const block& what) const noexcept;

  /// Gives the empty spans that are kept, of all streams or of one, back to the extents. True:
  /// there were some.
  bool release_empty() noexcept;
  bool release_empty(stream_index s) noexcept;
  /// The stream has spans.
  [[nodiscard]] bool has_spans(stream_index s) const noexcept { return bins_[s].spans != 0; }

  /// The longest free block, 0: none.
  [[nodiscard]] std::size_t longest_free() const noexcept;
  /// Null, or the first broken invariant.
  [[nodiscard]] const char* check() const noexcept;

 private:
  using span_pool = support::descriptor_pool<span_record>;
  struct size_bin {
    support::ordered_tree<span_pool> partial;  ///< by address
    support::ordered_tree<span_pool> owing;
    std::uint32_t kept = 0;  ///< one of them that is empty, 0: none
  };
  struct stream_bins {
    std::array<size_bin, span_class_count> bins{};
    std::uint32_t spans = 0;
  };

  [[nodiscard]] size_bin& bin_of(const span_record& span) noexcept;
  void put_in(std::uint32_t index) noexcept;
  void take_out(std::uint32_t index) noexcept;
  void give_back(span_position position, const stream_set& owes) noexcept;
  void release(std::uint32_t index) noexcept;
  [[nodiscard]] bool is_settled(stream_index s, const stream_set& owes) const noexcept;
  [[nodiscard]] bool has_free_block(std::uint32_t index, stream_index s,
                                    unsigned size_class) const noexcept;
  [[nodiscard]] bool is_owing(std::uint32_t index, stream_index s,
                              unsigned size_class) const noexcept;
  [[nodiscard]] stream_set debts_of(std::uint32_t index) const noexcept;
  [[nodiscard]] const char* check_span(std::uint32_t index) const noexcept;

  extent_heap& extents_;
  stream_order& order_;
  const bool host_order_;
  span_pool spans_;
  std::vector<stream_bins> bins_;
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
