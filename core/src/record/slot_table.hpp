// SPDX-License-Identifier: Apache-2.0
//
// slot_table: the records of one pool, at fixed addresses, and the list of slots without a block.
// Thread safety: looking a record up takes no lock; acquire and release take one short lock.
#pragma once

#include "record/record.hpp"
#include "system/address_space.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/result.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Why an allocation fails for which acquire has no slot.
[[nodiscard]] inline status no_slots(std::size_t bytes, device where) noexcept {
  return {.code = errc::too_many,
          .requested = bytes,
          .where = where,
          .text = "all slots are in use: raise pool_options::max_tensors"};
}

class slot_table {
 public:
  /// Makes room for `slots` slots (a power of two <= most_slots), or for fewer if the system
  /// refuses the addresses. first_generation, 1..2^30, is the generation of new slots; it differs
  /// between pools, so that their ids differ.
  [[nodiscard]] bool open(std::size_t slots, std::uint64_t pool_tag,
                          std::uint32_t first_generation) noexcept;

  /// Returns the record that the id names. For an id of another pool it returns some record of the
  /// table, so the caller compares the header.
  [[nodiscard]] record& at(std::uint64_t id) const noexcept {
    return *reinterpret_cast<record*>(base_ + (id & mask_));
  }
  [[nodiscard]] cold_record& cold(const record& r) const noexcept { return cold_[index_of(r)]; }
  [[nodiscard]] std::size_t index_of(const record& r) const noexcept {
    return static_cast<std::size_t>(&r - reinterpret_cast<const record*>(base_));
  }
  [[nodiscard]] record& by_index(std::size_t index) const noexcept {
    return reinterpret_cast<record*>(base_)[index];
  }
  [[nodiscard]] std::uint64_t self_of(const record& r) const noexcept {
    return std::uint64_t{index_of(r)} << slot_shift | pool_tag_;
  }

  [[nodiscard]] bool is_retired(const record& r, std::uint64_t header) const noexcept {
    return detail::is_retired(header, self_of(r));
  }
  /// Does this header of the slot say that a tensor is alive in it?
  [[nodiscard]] bool is_taken(const record& r, std::uint64_t header) const noexcept {
    return !is_free(header) && !is_retired(r, header);
  }
  /// Calls f(record, header) for every slot in which a tensor is alive when its header is read.
  template <class F>
  void for_each_taken(F&& f) const {
    for (std::size_t i = 0; i < made(); ++i) {
      record& r = by_index(i);
      const std::uint64_t header = r.header.load(std::memory_order_acquire);
      if (is_taken(r, header)) {
        f(r, header);
      }
    }
  }
  [[nodiscard]] std::size_t count_taken() const noexcept {
    std::size_t count = 0;
    for_each_taken([&](const record&, std::uint64_t) { ++count; });
    return count;
  }
  /// The id of the tensor in the slot. Pre: is_taken(r, header).
  [[nodiscard]] tensor_id id_of(const record& r, std::uint64_t header) const noexcept {
    return tensor_id::from_value(std::uint64_t{generation_of(header)} << 32 | self_of(r));
  }
  /// The block that the slot is bound to, or was until it was retired.
  [[nodiscard]] block block_of(const record& r) const noexcept {
    return {r.data.load(std::memory_order_relaxed), r.capacity.load(std::memory_order_relaxed),
            cold(r).cookie};
  }
  /// Does this header of r say that the tensor with this id is alive? It is false for every id of
  /// another pool or slot.
  [[nodiscard]] bool is_live(const record& r, std::uint64_t header,
                             std::uint64_t id) const noexcept {
    return detail::self_of(id) == self_of(r) && !is_retired(r, header) &&
           detail::is_live(header, id);
  }

  /// Fills out[0..n) with free slots without a block; n < out.size() when the table is full.
  [[nodiscard]] std::size_t acquire(std::span<record*> out) noexcept;
  /// Pre: the slot is free (its header says so) and has no block. Retired slots are dropped.
  void release(record& slot) noexcept;

  [[nodiscard]] std::uint64_t pool_tag() const noexcept { return pool_tag_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  /// The number of slots ever made: records [0, made()) have a header. It only grows.
  [[nodiscard]] std::size_t made() const noexcept { return made_.load(std::memory_order_acquire); }
  [[nodiscard]] std::size_t retired() const noexcept {
    return retired_.load(std::memory_order_relaxed);
  }

 private:
  std::byte* base_ = nullptr;
  std::uint64_t mask_ = 0;  // offset bits of an id
  cold_record* cold_ = nullptr;
  std::uint64_t pool_tag_ = 0;
  std::uint32_t first_generation_ = 1;
  std::size_t capacity_ = 0;
  address_space records_;
  address_space cold_records_;
  std::mutex mutex_;
  record* free_ = nullptr;  // guarded by mutex_; linked through record::next
  std::atomic<std::size_t> made_{0};
  std::atomic<std::size_t> retired_{0};
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
