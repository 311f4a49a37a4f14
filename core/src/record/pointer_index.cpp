// SPDX-License-Identifier: Apache-2.0
//
// pointer_index: builds the index, and enters and removes addresses.
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

// Says first that the index is kept, then enters all blocks that exist. Other threads bind and
// unbind blocks meanwhile. Such a thread stores its change to the slot first and then looks whether
// the index is kept; the build does these two steps in the opposite order, and all are in one total
// order. So there are two cases:
//   - The thread did not see that the index is kept. Then the build sees the thread's store.
//   - The thread saw it. Then it enters or erases the address itself, after its store and under the
//     lock under which the build reads the slot. If it does so before the build reads the slot, the
//     build sees the store; if it does so afterwards, it corrects the build's entry.
status pointer_index::build() noexcept {
  const std::lock_guard lock(mutex_);
  if (complete_.load(std::memory_order_relaxed)) {
    return {};
  }
  // Entries that a failed build has left are out of date.
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

// Adopted tensors begin and end with mutex_ held.
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

// Enters an adopted tensor. If a block, or a tensor that adopted the same memory, has the address
// already, it keeps the entry. False: there is no memory. Pre: mutex_ is held.
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
        (void)enter_adopted(other, data);  // cannot fail: there was room a moment ago
      }
    });
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
