// SPDX-License-Identifier: Apache-2.0
//
// pointer_index: maps addresses to tensors, for pool::find(const void*). The pool keeps the index
// from the first look-up on: a block enters when it is bound to a slot, adopted memory when it is
// adopted. Slices do not enter, because their address may be that of the tensor with the block.
//
// Invariant while it is kept: each bound slot has an entry for its address. So has each adopted
// tensor, unless a block or another adopted tensor has the same address.
//
// Thread safety: any thread may call all members, which take a short lock.
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

  // Callers store to the slot before they call these two. That store must be sequentially
  // consistent: see build().

  /// Enters the address of a slot that was just bound (the store of size_class), or whose tensor
  /// just moved (the store of data). False: there is no memory.
  [[nodiscard]] bool enter_block(const record& slot) noexcept;
  /// Removes the former address of a slot that is no longer bound (the store of size_class), or
  /// whose tensor moved (the store of data). Pre: no other slot has the block yet.
  void forget_block(const record& slot, const void* data) noexcept;

  /// Enters the address of an adopted tensor and calls make(), which makes the tensor, under the
  /// lock against builds. False: there is no memory and make was not called.
  template <class F>
  [[nodiscard]] bool adopt(const record& slot, const void* data, F&& make) noexcept {
    const std::lock_guard lock(mutex_);
    if (is_kept() && !enter_adopted(slot, data)) {
      return false;
    }
    make();
    return true;
  }
  /// Removes an adopted tensor. Pre: it has ended and its slot is not released yet.
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
  std::atomic<bool> kept_{false};      // blocks and adopted tensors enter and leave
  std::atomic<bool> complete_{false};  // those that existed before have entered, too
  std::mutex mutex_;                   // held by builds, and when adopted tensors begin or end
  bool adopted_twice_ = false;         // guarded by mutex_: some memory was adopted twice
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
