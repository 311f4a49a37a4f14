// SPDX-License-Identifier: Apache-2.0
//
// replay_plan: a trace's allocations and frees, decoded before any clock runs into 16-byte
// operations that name slots of an array instead of ids, so that replaying adds a few instructions
// per operation. What the trace read of its tensors is a plan of its own beside the operations
// (access_plan.hpp). Other events are left out: a replay writes to memory as its options say.
// Tensors whose allocation failed when recorded, and external ones (memory owned elsewhere), are
// left out and counted.
#pragma once

#include "tidepool/replay/access_plan.hpp"
#include "trace/error.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tidepool::bench {

/// One allocation or one free. The size, alignment, category and name of a free are 0.
class replay_op {
 public:
  struct shape {
    std::uint64_t bytes = 0;          ///< up to 2^48
    std::uint8_t alignment_log2 = 0;  ///< 0: the device's default; up to 32
    std::uint8_t category = 0;
    std::uint32_t name = 0;    ///< up to most_names
    std::uint16_t stream = 0;  ///< up to most_streams; 0: the default one
  };
  static constexpr std::uint32_t most_names = std::uint32_t{1} << 20;
  static constexpr std::uint16_t most_streams = 2047;

  [[nodiscard]] static constexpr replay_op allocate(std::uint32_t slot, const shape& of) noexcept {
    replay_op op;
    op.shape_ = of.bytes | std::uint64_t{of.alignment_log2} << alignment_shift |
                std::uint64_t{of.category} << category_shift;
    op.name_and_stream_ = of.name | std::uint32_t{of.stream} << stream_shift;
    op.slot_and_kind_ = slot << 1;
    return op;
  }
  [[nodiscard]] static constexpr replay_op free(std::uint32_t slot) noexcept {
    replay_op op;
    op.slot_and_kind_ = slot << 1 | 1U;
    return op;
  }
  /// A free on another stream than the allocation's.
  [[nodiscard]] static constexpr replay_op free_on(std::uint32_t slot,
                                                   std::uint16_t stream) noexcept {
    replay_op op = free(slot);
    op.shape_ = 1;
    op.name_and_stream_ = std::uint32_t{stream} << stream_shift;
    return op;
  }

  [[nodiscard]] constexpr bool is_free() const noexcept { return (slot_and_kind_ & 1U) != 0; }
  [[nodiscard]] constexpr std::uint32_t slot() const noexcept { return slot_and_kind_ >> 1; }
  [[nodiscard]] constexpr std::size_t bytes() const noexcept {
    return shape_ & ((std::uint64_t{1} << alignment_shift) - 1);
  }
  /// In bytes; 0: the default.
  [[nodiscard]] constexpr std::size_t alignment() const noexcept {
    return std::size_t{1} << (shape_ >> alignment_shift & 0x3f) & ~std::size_t{1};
  }
  [[nodiscard]] constexpr std::uint8_t category() const noexcept {
    return static_cast<std::uint8_t>(shape_ >> category_shift);
  }
  [[nodiscard]] constexpr std::uint32_t name() const noexcept {
    return name_and_stream_ & name_mask;
  }
  /// Of an allocation, or of a free that changes it.
  [[nodiscard]] constexpr std::uint16_t stream() const noexcept {
    return static_cast<std::uint16_t>(name_and_stream_ >> stream_shift);
  }
  /// Pre: is_free().
  [[nodiscard]] constexpr bool changes_stream() const noexcept { return shape_ != 0; }
  /// Replaces what the trace calls its category and name by what a pool calls them.
  constexpr void rename(std::uint8_t new_category, std::uint32_t new_name) noexcept {
    shape_ = (shape_ & ((std::uint64_t{1} << category_shift) - 1)) | std::uint64_t{new_category}
                                                                         << category_shift;
    name_and_stream_ = (name_and_stream_ & ~name_mask) | new_name;
  }
  constexpr void move_to(std::uint32_t slot) noexcept {
    slot_and_kind_ = slot << 1 | (slot_and_kind_ & 1U);
  }

 private:
  static constexpr unsigned alignment_shift = 50;
  static constexpr unsigned category_shift = 56;
  static constexpr unsigned stream_shift = 21;
  static constexpr std::uint32_t name_mask = (std::uint32_t{1} << stream_shift) - 1;
  std::uint64_t shape_ = 0;
  std::uint32_t slot_and_kind_ = 0;
  std::uint32_t name_and_stream_ = 0;
};
static_assert(sizeof(replay_op) == 16);
static_assert(replay_op::allocate(3, {.bytes = std::uint64_t{1} << 48, .alignment_log2 = 32})
                  .alignment() == std::size_t{1} << 32);
static_assert(replay_op::allocate(3, {.bytes = 7}).alignment() == 0);
static_assert(replay_op::allocate(3, {.name = replay_op::most_names,
                                      .stream = replay_op::most_streams})
                  .stream() == replay_op::most_streams);

enum class thread_use : std::uint8_t {
  one,       ///< all operations in the trace's order, on one thread
  by_trace,  ///< one thread for each thread number of the trace, if it has several
};

struct replay_plan {
  /// One list, or one per thread of the trace. A free may name a slot that another list fills.
  std::vector<std::vector<replay_op>> threads;
  std::uint32_t slot_count = 0;
  std::vector<std::string> names;       ///< [0] is ""; operations index it
  std::vector<std::string> categories;  ///< [0] is ""; operations index it

  std::uint64_t operations = 0;
  std::uint64_t allocations = 0;
  std::uint64_t frees = 0;
  std::uint64_t distinct_sizes = 0;
  std::uint64_t peak_live_bytes = 0;  ///< exact, requested bytes, in the trace's order
  std::uint64_t peak_operation = 0;   ///< number of the operation that reached it first
  std::uint64_t peak_tensors = 0;
  std::uint64_t trace_threads = 0;
  std::uint64_t trace_devices = 0;
  std::uint16_t streams = 0;   ///< beside the default ones; operations name them 1 to streams
  std::uint64_t left_out = 0;  ///< allocations: failed when recorded, or external

  /// +bytes and -bytes in the trace's order, for prewarm_plan::from_sizes. Filled on request.
  std::vector<std::ptrdiff_t> sizes;
  /// Empty unless it was asked for.
  access_plan accesses;
};

struct decode_options {
  thread_use threads = thread_use::one;
  bool keep_sizes = false;
  bool keep_accesses = false;
};

/// Decodes a trace to its end, reading it once. Errors: damage, truncation, and events that break
/// the rules (a free of what is not alive, an allocation of what is); more than 64 threads with
/// thread_use::by_trace, more than 2047 streams.
[[nodiscard]] trace::result<replay_plan> decode(const std::string& path,
                                                const decode_options& options = {}) noexcept;

}  // namespace tidepool::bench
