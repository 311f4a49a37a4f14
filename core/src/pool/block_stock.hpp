// SPDX-License-Identifier: Apache-2.0
//
// block_stock: the free blocks of a pool that no thread keeps, between the backends and the front
// caches. It binds blocks to slots, takes blocks from backends, keeps them in ready lists within
// bounds, gives them back, and counts operations that no front cache counts.
//
// Thread safety: every member from any thread. A slot that is handed in belongs to the caller: it
// is free and in no list, unless a comment says otherwise.
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
  /// ready_bytes: beyond so many in a device's ready lists, blocks go back to the backend.
  block_stock(const parts& below, std::size_t ready_bytes) noexcept
      : below_(below), ready_bytes_(ready_bytes) {}
  block_stock(const block_stock&) = delete;
  block_stock& operator=(const block_stock&) = delete;
  /// Is told of blocks that are bound. Called once, before all others.
  void set_debug(debug_layer* debug) noexcept { debug_ = debug; }

  // Between backends and slots.
  /// Asks the backend for up to out.size() blocks and binds them. Post: out[0, count) are free
  /// slots, and count != 0 or `why` says why not.
  [[nodiscard]] backend::refill_result refill(const block_demand& demand, std::span<record*> out,
                                              bool may_grow) noexcept;
  /// A slot popped from a magazine or a ready list, if it can be used: itself when it is free.
  /// Where its generations are used up its block moves to another slot. Null: another thread freed
  /// its tensor too and somebody has it now, which is reported; look for another one.
  [[nodiscard]] record* accept_popped(record& slot) noexcept;
  /// The slot may be bound to another block, or released. Pre: it is free or retired.
  void unbind(record& slot) noexcept;
  /// The bytes of a list of slots, linked by `next`, whose blocks go back to the backend.
  /// Pre: they are counted in the lane's ready bytes.
  std::size_t give_to_backend(lane& where, record* list) noexcept;

  // Ready lists.
  /// Slots of one class become ready for every thread; what exceeds the bounds goes to the backend.
  void give_back(lane& where, unsigned size_class, std::span<record* const> slots) noexcept;
  void give_back(lane& where, record& slot) noexcept;
  /// As give_back; in a closed pool straight to the backend.
  void keep_centrally(lane& where, record& slot) noexcept;
  /// Takes up to out.size() slots whose blocks fit.
  [[nodiscard]] std::size_t take_ready(const block_demand& demand, std::span<record*> out) noexcept;
  /// All ready lists but those of arenas go to the backends, pre-warmed blocks too if reserves_too.
  /// Returns the bytes.
  std::size_t drain_ready(bool reserves_too) noexcept;
  std::size_t drain_ready(lane& where, bool reserves_too) noexcept;

  // Counts of operations that no front cache counts. `taken_back`: the opposite of such a count.
  void count_made(lane& where, unsigned size_class, const made_count& one) noexcept;
  void uncount_made(lane& where, unsigned size_class, const made_count& one) noexcept;
  void count_ended(lane& where, unsigned size_class, std::uint64_t bytes) noexcept;
  /// A live tensor's block became longer: if it belongs to another class now, that is counted as
  /// a free of the old and an allocation of the new class. Pre: the caller has the tensor alone.
  void change_class(lane& where, record& slot, std::uint64_t bytes) noexcept;
  /// The slot's block, and the tensor that ends there, are this lane's from now on; the device's
  /// sums stay. Pre: the tensor's end is not counted yet.
  void move_to_lane(record& slot, lane& to) noexcept;

  /// Threads in the out-of-memory ladder: while there are any, nobody takes more than needed.
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
