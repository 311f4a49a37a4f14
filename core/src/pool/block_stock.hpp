// SPDX-License-Identifier: Apache-2.0
//
// block_stock: the free blocks of a pool that no thread keeps, between the backends and the front
// caches. It takes blocks from backends and binds them to slots, keeps them in bounded ready lists,
// gives them back, and counts the operations that no front cache counts.
//
// Thread safety: every member from any thread. A slot that a caller passes in belongs to it: the
// slot is free and in no list, unless a comment says otherwise.
#pragma once

#include "cache/demand.hpp"
#include "pool/directory.hpp"
#include "pool/incidents.hpp"
#include "pool/lanes.hpp"
#include "pool/operation_count.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

class debug_layer;

class block_stock {
 public:
  /// The parts below it.
  struct parts {
    const operation_count& operations;
    const detail::lanes& lanes;
    detail::incidents& incidents;
    detail::directory& directory;
  };
  /// ready_bytes: most bytes in a device's ready lists; further blocks go back to the backend.
  block_stock(const parts& below, std::size_t ready_bytes) noexcept
      : below_(below), ready_bytes_(ready_bytes) {}
  block_stock(const block_stock&) = delete;
  block_stock& operator=(const block_stock&) = delete;
  /// Passes the debug layer that is to be told of bound blocks. Called once, before all others.
  void set_debug(debug_layer* debug) noexcept { debug_ = debug; }

  // Between backends and slots.
  /// Asks the backend for up to out.size() blocks and binds them. Post: out[0, count) are free
  /// slots, and count != 0 or `why` says why not.
  [[nodiscard]] backend::refill_result refill(const block_demand& demand, std::span<record*> out,
                                              bool may_grow) noexcept;
  /// Checks a slot that was popped from a magazine or a ready list. Returns the slot if it is free.
  /// If it has used up its generations, its block moves to another slot, which is returned. Null:
  /// the slot cannot be used, because two threads freed its tensor and it is in use again (which
  /// this reports as misuse), or because there is no other slot. Look for another one.
  [[nodiscard]] record* accept_popped(record& slot) noexcept;
  /// Separates a slot from its block, so that it may be bound again or released. Pre: it is free or
  /// retired.
  void unbind(record& slot) noexcept;
  /// Gives the blocks of a list of slots, linked by `next`, to the backend. Returns their bytes.
  /// Pre: the lane's ready bytes count them.
  std::size_t give_to_backend(lane& where, record* list) noexcept;

  // Ready lists.
  /// Makes slots of one class ready for every thread; blocks beyond the bounds go to the backend.
  void give_back(lane& where, unsigned size_class, std::span<record* const> slots) noexcept;
  void give_back(lane& where, record& slot) noexcept;
  /// Does the same as give_back, but in a closed pool the block goes to the backend at once.
  void keep_centrally(lane& where, record& slot) noexcept;
  /// Takes up to out.size() slots whose blocks fit.
  [[nodiscard]] std::size_t take_ready(const block_demand& demand, std::span<record*> out) noexcept;
  /// Gives the blocks of all ready lists but those of arenas to the backends; if reserves_too, also
  /// the pre-warmed ones. Returns their bytes.
  std::size_t drain_ready(bool reserves_too) noexcept;
  std::size_t drain_ready(lane& where, bool reserves_too) noexcept;

  // Counts of operations that no front cache counts; uncount_made undoes count_made.
  void count_made(lane& where, unsigned size_class, const made_count& one) noexcept;
  void uncount_made(lane& where, unsigned size_class, const made_count& one) noexcept;
  void count_ended(lane& where, unsigned size_class, std::uint64_t bytes) noexcept;
  /// A live tensor's block became longer. If its size class changed with that, this counts a free
  /// of the old class and an allocation of the new one. Pre: the caller has the tensor alone.
  void change_class(lane& where, record& slot, std::uint64_t bytes) noexcept;
  /// Moves the slot's block, and the tensor that ends in it, to another lane of the same device, so
  /// the device's sums stay. Pre: the tensor's end is not counted yet.
  void move_to_lane(record& slot, lane& to) noexcept;

  /// Number of threads in the out-of-memory ladder. While there is one, no thread takes more blocks
  /// than it needs.
  std::atomic<std::uint32_t> climbing{0};
  [[nodiscard]] bool is_climbing() const noexcept {
    return climbing.load(std::memory_order_relaxed) != 0;
  }

 private:
  [[nodiscard]] bool bind(lane& where, const block& held, record& slot) noexcept;
  [[nodiscard]] std::size_t bind_all(lane& where, std::span<const block> held,
                                     std::span<record*> slots) noexcept;
  [[nodiscard]] std::uint32_t magazine_of(const lane& where, unsigned size_class) const noexcept;

  const parts below_;
  const std::size_t ready_bytes_;
  debug_layer* debug_ = nullptr;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
