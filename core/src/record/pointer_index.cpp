// SPDX-License-Identifier: Apache-2.0
//
// pointer_index: building it, and what enters and leaves.
#include "record/pointer_index.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

[[nodiscard]] std::uint64_t address_of(const void* data) noexcept {
  return reinterpret_cast<std::uint64_t>(data);
}
[[nodiscard]] bool is_adopted(std::uint64_t header) noexcept {
  return any(flags_of(header) & tensor_flags::adopted);
}

}  // namespace

std::uint32_t pointer_index::number_of(const record& slot) const noexcept {
  return static_cast<std::uint32_t>(slots_.index_of(slot));
}

std::optional<std::uint32_t> pointer_index::entry_of(const void* data) const noexcept {
  return entries_.find(address_of(data));
}

result<tensor_id> pointer_index::find(const void* data) noexcept {
  if (data == nullptr) {
    return errc::not_found;
  }
  if (!complete_.load(std::memory_order_acquire)) {
    if (const status why = build(); !why.ok()) {
      return why;
    }
  }
  if (const std::optional<std::uint32_t> index = entry_of(data)) {
    const record& r = slots_.by_index(*index);
    const std::uint64_t header = r.header.load(std::memory_order_acquire);
    if (slots_.is_taken(r, header) && r.data.load(std::memory_order_acquire) == data) {
      return slots_.id_of(r, header);
    }
  }
  return errc::not_found;
}

// From now on the index is kept; then what there is already is entered. Blocks come and go
// meanwhile. Who binds or unbinds stores first, then looks whether the index is kept; here it is
// the other way round, all in one total order. So who did not see the index kept is seen here as
// done. Who did enters or erases himself, after his store, with the lock in which the slot is
// looked at here: before this, which then sees the store, or after it, undoing what it entered.
status pointer_index::build() noexcept {
  const std::lock_guard lock(mutex_);
  if (complete_.load(std::memory_order_relaxed)) {
    return {};
  }
  // What a build that failed has left is out of date.
  entries_.clear([this] { kept_.store(true, std::memory_order_seq_cst); });
  for (std::size_t i = 0; i < slots_.made(); ++i) {
    const record& r = slots_.by_index(i);
    const auto address_of_block = [&r] {
      return r.size_class.load(std::memory_order_seq_cst) == 0
                 ? 0
                 : address_of(r.data.load(std::memory_order_seq_cst));
    };
    const bool stored =
        entries_.set_answer(address_of_block, static_cast<std::uint32_t>(i)) && enter_if_adopted(r);
    if (!stored) {
      kept_.store(false, std::memory_order_seq_cst);
      return status{.code = errc::out_of_memory, .text = "no memory for the pointer index"};
    }
  }
  complete_.store(true, std::memory_order_release);
  return {};
}

// Those begin and end with mutex_ held.
bool pointer_index::enter_if_adopted(const record& slot) noexcept {
  const std::uint64_t header = slot.header.load(std::memory_order_acquire);
  return !slots_.is_taken(slot, header) || !is_adopted(header) ||
         enter_adopted(slot, slot.data.load(std::memory_order_acquire));
}

bool pointer_index::enter_block(const record& slot) noexcept {
  return !kept_.load(std::memory_order_seq_cst) ||
         entries_.set(address_of(slot.data.load(std::memory_order_relaxed)), number_of(slot));
}

void pointer_index::forget_block(const record& slot, const void* data) noexcept {
  if (kept_.load(std::memory_order_seq_cst)) {
    entries_.erase(address_of(data), number_of(slot));
  }
}

// False: no memory. A block, or a tensor that adopted the same memory, keeps its entry. Pre: mutex_
// is held.
bool pointer_index::enter_adopted(const record& slot, const void* data) noexcept {
  if (data == nullptr) {
    return true;
  }
  const flat_index::insertion entered = entries_.insert(address_of(data), number_of(slot));
  adopted_twice_ = adopted_twice_ || (entered.stored && !entered.added);
  return entered.stored;
}

void pointer_index::forget_adopted(const record& slot) noexcept {
  const std::lock_guard lock(mutex_);
  const void* const data = slot.data.load(std::memory_order_relaxed);
  if (data == nullptr || !is_kept()) {
    return;
  }
  entries_.erase(address_of(data), number_of(slot));
  if (adopted_twice_) {
    slots_.for_each_taken([&](const record& other, std::uint64_t header) {
      if (is_adopted(header) && other.data.load(std::memory_order_acquire) == data) {
        (void)enter_adopted(other, data);  // the first one; there was room a moment ago
      }
    });
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
