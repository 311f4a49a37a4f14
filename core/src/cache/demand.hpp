// SPDX-License-Identifier: Apache-2.0
//
// The values that an allocation passes on its way down: the request as it came, the block that it
// needs, and the slot that was found. Plain values.
#pragma once

#include "cache/front_cache.hpp"
#include "cache/lane.hpp"
#include <tidepool/attributes.hpp>
#include <tidepool/device.hpp>
#include <tidepool/ids.hpp>
#include <tidepool/info.hpp>
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

// No address space has room for more, and rounding cannot overflow below this.
inline constexpr std::size_t largest_request = std::size_t{1} << 47;
// For blocks larger than this, the pool first searches the memory that it holds, before the backend
// may grow.
inline constexpr std::size_t worth_searching = std::size_t{64} << 10;
inline constexpr std::size_t largest_batch = magazine_slots / 2;

/// A tensor that owns no block: a slice, adopted memory, zero bytes.
struct loose_tensor {
  void* data = nullptr;
  std::size_t bytes = 0;
  std::uint64_t tag = 0;
  lifecycle state = lifecycle::temporary;
  tensor_flags flags = tensor_flags::none;
};

/// Memory that the pool does not own, with the callback that releases it.
struct adopted_tensor {
  loose_tensor tensor;
  void (*release)(void* data, std::size_t bytes, void* context) = nullptr;
  void* context = nullptr;
};

/// What the warm path knew when it missed: the thread's magazine was empty, and had this limit.
struct missed_magazine {
  static constexpr std::uint16_t unseen = 0xffff;  // it was not empty, or the gate was closed
  std::uint16_t limit = unseen;

  [[nodiscard]] bool is_seen() const noexcept { return limit != unseen; }
};

/// One allocation; check_request completes it on the way down.
struct allocation_request {
  std::size_t bytes = 0;
  device where = {};
  stream_ref stream = {};
  std::size_t alignment = 0;
  std::uint64_t key = 0;
  name_id name = {};
  tidepool::category category = category::temporary;
  tidepool::lifecycle lifecycle = lifecycle::automatic;
  tensor_flags flags = tensor_flags::none;
  lane* used_by = nullptr;       // lane of the stream that uses it, if it belongs to another lane
  front_cache* cache = nullptr;  // the calling thread's, looked up once
  missed_magazine missed = {};
};

/// The length and alignment that one tensor needs of its block.
struct footprint {
  std::size_t bytes = 0;
  std::size_t alignment = 0;
};

/// How the block of a tensor ends.
struct ended_block {
  std::uint64_t bytes = 0;       // of its tensor
  lane* last = nullptr;          // it ended in the order of this lane; null: of its own lane
  bool used_elsewhere = false;   // other streams have used it
  bool is_untold = false;        // it ended on a stream that has no lane and cannot get one now
  front_cache* cache = nullptr;  // of the calling thread
};

/// In whose order a free is.
struct free_order {
  lane* last = nullptr;    // null: of the tensor's own lane
  bool is_untold = false;  // see ended_block
};

/// The block that an allocation needs from one lane.
struct block_demand {
  lane* where = nullptr;
  std::size_t bytes = 0;        // at least 1
  std::uint64_t requested = 0;  // the tensor's part of these bytes
  std::size_t alignment = 0;    // power of two
  unsigned size_class = 0;      // of bytes
  bool long_lived = false;
  missed_magazine missed = {};  // a hint: the magazine of another class is wrong, but harmless
};

/// Returns the demand for a block with this room. The size is rounded up to a multiple of the
/// alignment, because the size of its class is then such a multiple, too.
[[nodiscard]] inline block_demand demand_for(lane& where, const footprint& room) noexcept {
  const std::size_t rounded = (room.bytes + room.alignment - 1) & ~(room.alignment - 1);
  return {.where = &where,
          .bytes = rounded,
          .alignment = room.alignment,
          .size_class = size_class_of(rounded)};
}

/// The result of looking for a block: a slot with its block, or why there is none.
struct obtained {
  record* slot = nullptr;
  block_source from = block_source::front;
  status why = {};
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
