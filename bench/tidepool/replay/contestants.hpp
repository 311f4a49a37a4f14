// SPDX-License-Identifier: Apache-2.0
//
// The allocators that a replay compares, behind one compile-time interface, so that each one's
// calls stand in the replay loop as a program would write them: no virtual call, no function
// pointer.
//
//   allocation allocate(const replay_op& op) noexcept;   // ok == false: no memory
//   void deallocate(const replay_slot& slot) noexcept;   // pre: filled by this contestant
//   void deallocate(const replay_slot& slot, const replay_op& op) noexcept;   // optional: the free
//
// A contestant is a handle that threads copy; the allocator behind it outlives them.
#pragma once

#include "naive/naive_pool.hpp"
#include "tidepool/replay/plan.hpp"
#include <tidepool/pool.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

namespace tidepool::bench {

struct allocation {
  void* data = nullptr;
  std::uint64_t id = 0;
  bool ok = false;
};

enum class slot_state : std::uint32_t { empty, live, failed };

/// Where a replay keeps a live tensor. `state` is published last: with several threads a free may
/// wait for the allocation that another thread makes.
struct replay_slot {
  void* data = nullptr;
  std::uint64_t id = 0;
  std::atomic<slot_state> state = slot_state::empty;
};

/// What every pool is asked for; without a stream, in the order of none.
[[nodiscard]] inline allocation allocate_from(pool& from, device where, const replay_op& op,
                                              const stream_ref& stream = {}) noexcept {
  const result<raw_tensor> made =
      from.allocate_raw(op.bytes(), where,
                        {.stream = stream,
                         .category = static_cast<category>(op.category()),
                         .name = name_id::from_value(op.name()),
                         .alignment = op.alignment()});
  if (!made) [[unlikely]] {
    return {};
  }
  return {.data = made->data, .id = made->id.value(), .ok = true};
}

class pool_contestant {
 public:
  static constexpr const char* name = "tidepool";
  pool_contestant(pool& target, device where) noexcept : target_(&target), where_(where) {}

  [[nodiscard]] allocation allocate(const replay_op& op) noexcept {
    return allocate_from(*target_, where_, op);
  }
  void deallocate(const replay_slot& slot) noexcept {
    target_->deallocate(tensor_id::from_value(slot.id));
  }

 private:
  pool* target_;
  device where_;
};

/// The pool on a device with streams: tensors begin and end on those of the trace.
class stream_pool_contestant {
 public:
  static constexpr const char* name = pool_contestant::name;
  /// Pre: `streams` has the plan's streams, and outlives the contestant.
  stream_pool_contestant(pool& target, device where, std::span<const stream_ref> streams) noexcept
      : target_(&target), where_(where), streams_(streams) {}

  [[nodiscard]] allocation allocate(const replay_op& op) noexcept {
    return allocate_from(*target_, where_, op, streams_[op.stream()]);
  }
  void deallocate(const replay_slot& slot) noexcept {
    target_->deallocate(tensor_id::from_value(slot.id));
  }
  void deallocate(const replay_slot& slot, const replay_op& op) noexcept {
    if (op.changes_stream()) [[unlikely]] {
      target_->deallocate(tensor_id::from_value(slot.id), streams_[op.stream()]);
    } else {
      deallocate(slot);
    }
  }

 private:
  pool* target_;
  device where_;
  std::span<const stream_ref> streams_;
};

/// The C library with tidepool's promise of alignment: 64 bytes or more.
class aligned_contestant {
 public:
  static constexpr const char* name = "aligned_alloc";
  [[nodiscard]] allocation allocate(const replay_op& op) noexcept {
    const std::size_t alignment = op.alignment() < 64 ? 64 : op.alignment();
    const std::size_t bytes = op.bytes() == 0 ? 1 : op.bytes();
    void* const data = std::aligned_alloc(alignment, (bytes + alignment - 1) & ~(alignment - 1));
    return {.data = data, .id = 0, .ok = data != nullptr};
  }
  void deallocate(const replay_slot& slot) noexcept { std::free(slot.data); }
};

/// The C library at its fastest: alignment 16, whatever the trace asks for.
class malloc_contestant {
 public:
  static constexpr const char* name = "malloc";
  [[nodiscard]] allocation allocate(const replay_op& op) noexcept {
    void* const data = std::malloc(op.bytes() == 0 ? 1 : op.bytes());
    return {.data = data, .id = 0, .ok = data != nullptr};
  }
  void deallocate(const replay_slot& slot) noexcept { std::free(slot.data); }
};

class naive_contestant {
 public:
  static constexpr const char* name = "naive pool";
  explicit naive_contestant(naive_pool& target) noexcept : target_(&target) {}

  [[nodiscard]] allocation allocate(const replay_op& op) noexcept {
    const std::size_t alignment = op.alignment() < 64 ? 64 : op.alignment();
    const naive_pool::allocation made = target_->allocate(op.bytes(), op.category(), alignment);
    return {.data = made.data, .id = made.id, .ok = made.id != 0};
  }
  void deallocate(const replay_slot& slot) noexcept { target_->deallocate(slot.id); }

 private:
  naive_pool* target_;
};

/// Allocates nothing: what is left is the cost of replaying, which every other figure contains.
class null_contestant {
 public:
  static constexpr const char* name = "(nothing)";
  [[nodiscard]] allocation allocate(const replay_op& op) noexcept {
    // The address depends on the size, so that the operation is read as by the others.
    return {.data = scratch_ + (op.bytes() & 63), .id = op.category(), .ok = true};
  }
  void deallocate(const replay_slot& slot) noexcept {
    void* data = slot.data;
    asm volatile("" : "+r"(data) : : "memory");
  }

 private:
  alignas(64) std::byte scratch_[128] = {};
};

}  // namespace tidepool::bench
