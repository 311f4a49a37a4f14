// SPDX-License-Identifier: Apache-2.0
//
// pointer_index: from addresses to tensors, for pool::find(const void*). Kept from the first
// look-up on: blocks enter it where they are bound to slots, adopted memory where it is adopted.
// Slices are not in it: their address may be that of their tensor, whose block it is.
//
// Invariant, while it is kept: each bound slot has the entry of its address, each adopted tensor
// too, unless a block or another adopted tensor has it. Thread safety: all members; a short lock.
#pragma once

#include "record/flat_index.hpp"
#include "record/slot_table.hpp"
#include <tidepool/ids.hpp>
#include <tidepool/result.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

namespace tidepool {
inline namespace v0 {
namespace detail {

class pointer_index {
 public:
  explicit pointer_index(const slot_table& slots) noexcept : slots_(slots) {}

  /// The first call builds the index.
  [[nodiscard]] result<tensor_id> find(const void* data) noexcept;

  // The stores that these two follow have to be sequentially consistent: see build().

  /// Where a block begins whose slot was just bound (size_class), or where a bound slot's tensor
  /// has just moved to (data). False: no memory.
  [[nodiscard]] bool enter_block(const record& slot) noexcept;
  /// It began at `data` until now: it is bound no longer (size_class), or has moved (data). Pre:
  /// nobody else has the block yet.
  void forget_block(const record& slot, const void* data) noexcept;

  /// Calls make(), which makes the adopted tensor, with its address entered and locked against a
  /// build. False: no memory, make was not called.
  template <class F>
  [[nodiscard]] bool adopt(const record& slot, const void* data, F&& make) noexcept {
    const std::lock_guard lock(mutex_);
    if (is_kept() && !enter_adopted(slot, data)) {
      return false;
    }
    make();
    return true;
  }
  /// Pre: the tensor has ended, its slot is not released yet.
  void forget_adopted(const record& slot) noexcept;

  // For walks over all invariants.
  [[nodiscard]] bool is_kept() const noexcept { return kept_.load(std::memory_order_acquire); }
  [[nodiscard]] std::optional<std::uint32_t> entry_of(const void* data) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  [[nodiscard]] status build() noexcept;
  [[nodiscard]] bool enter_if_adopted(const record& slot) noexcept;
  [[nodiscard]] bool enter_adopted(const record& slot, const void* data) noexcept;
  [[nodiscard]] std::uint32_t number_of(const record& slot) const noexcept;

  const slot_table& slots_;
  flat_index entries_;
  std::atomic<bool> kept_{false};      // what comes and goes enters and leaves
  std::atomic<bool> complete_{false};  // and what was there before is in it
  std::mutex mutex_;                   // building, and adopted tensors that begin or end
  bool adopted_twice_ = false;         // guarded by mutex_: some memory ever was
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
