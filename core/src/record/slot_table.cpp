// SPDX-License-Identifier: Apache-2.0
//
// slot_table: reserves addresses, hands slots out and takes them back.
#include "record/slot_table.hpp"

#include <tidepool/assert.hpp>

#include <bit>

namespace tidepool {
inline namespace v0 {
namespace detail {

bool slot_table::open(std::size_t slots, std::uint64_t pool_tag,
                      std::uint32_t first_generation) noexcept {
  constexpr std::size_t fewest = 4096;
  slots = std::bit_ceil(slots < fewest ? fewest : slots > most_slots ? most_slots : slots);
  for (; slots >= fewest; slots /= 2) {
    records_ = address_space::reserve(slots * sizeof(record));
    cold_records_ = address_space::reserve(slots * sizeof(cold_record));
    if (records_ && cold_records_) {
      break;
    }
    records_ = {};
    cold_records_ = {};
  }
  if (!records_) {
    return false;
  }
  base_ = static_cast<std::byte*>(records_.data());
  cold_ = static_cast<cold_record*>(cold_records_.data());
  mask_ = (slots - 1) << slot_shift;
  capacity_ = slots;
  pool_tag_ = pool_tag;
  first_generation_ = first_generation;
  // The empty id, 0, leads to slot 0. A record that was never made has the header 0, which equals
  // this id, so the warm free would take it for a live tensor's.
  by_index(0).header.store(free_bit, std::memory_order_release);
  return true;
}

std::size_t slot_table::acquire(std::span<record*> out) noexcept {
  const std::lock_guard lock(mutex_);
  std::size_t n = 0;
  for (; n < out.size() && free_ != nullptr; ++n) {
    out[n] = free_;
    free_ = next_of(*free_);
  }
  std::size_t made = made_.load(std::memory_order_relaxed);
  for (; n < out.size() && made < capacity_; ++n, ++made) {
    record& r = by_index(made);
    const std::uint64_t first = std::uint64_t{first_generation_} << 32 | self_of(r);
    r.header.store(std::uint64_t{0} - first, std::memory_order_release);
    out[n] = &r;
  }
  made_.store(made, std::memory_order_release);
  return n;
}

void slot_table::release(record& slot) noexcept {
  // Retired slots are cleared, too, so that no search takes their last block for theirs.
  slot.data.store(nullptr, std::memory_order_relaxed);
  slot.capacity.store(0, std::memory_order_relaxed);
  slot.usable_bytes = 0;
  slot.size_class.store(0, std::memory_order_relaxed);
  const std::uint64_t header = slot.header.load(std::memory_order_relaxed);
  if (!is_free(header)) {
    TIDEPOOL_ASSERT(1, is_retired(slot, header));
    retired_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const std::lock_guard lock(mutex_);
  set_next(slot, free_);
  free_ = &slot;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
