// SPDX-License-Identifier: Apache-2.0
//
// descriptor_pool: records with stable 32-bit numbers, in chunks of doubling size taken straight
// from the system. Number 0 means none. Releasing never fails and never calls the system, so a free
// never can; acquiring is split in two: reserve may be refused, acquire may not. Not thread-safe.
#pragma once

#include "os_memory.hpp"
#include <tidepool/assert.hpp>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

namespace tidepool {
inline namespace v0 {
namespace cpu {

/// Record is trivially destructible; its member `left` links the released ones.
/// Invariant: used() + released == the numbers made so far (bound() - 1).
template <class Record>
class descriptor_pool {
  static_assert(std::is_trivially_destructible_v<Record>);
  static constexpr unsigned first_bits = 10;  // the first chunk has 1024 records

 public:
  explicit descriptor_pool(os_memory& os) noexcept : os_(os) {}
  descriptor_pool(const descriptor_pool&) = delete;
  descriptor_pool& operator=(const descriptor_pool&) = delete;
  ~descriptor_pool() {
    for (unsigned k = 0; k != chunk_count_; ++k) {
      static_cast<void>(os_.release(chunks_[k], chunk_bytes(k)));
    }
  }

  /// Post: the next n calls of acquire succeed. Answers 0 or errno.
  [[nodiscard]] int reserve(std::uint32_t n) noexcept {
    while (released_ + capacity() < n + bound_) {  // without chunks, capacity is below bound
      if (const int error = grow(); error != 0) {
        return error;
      }
    }
    return 0;
  }

  /// A fresh record. Pre: reserved.
  [[nodiscard]] std::uint32_t acquire() noexcept {
    std::uint32_t index = free_;
    if (index != 0) {
      free_ = (*this)[index].left;
      --released_;
    } else {
      TIDEPOOL_ASSERT(1, bound_ < capacity());
      index = bound_++;
    }
    ::new (static_cast<void*>(&(*this)[index])) Record{};
    return index;
  }

  void release(std::uint32_t index) noexcept {
    Record& record = (*this)[index];
    record = Record{};
    record.left = free_;
    free_ = index;
    ++released_;
  }

  /// Pre: 0 < index < bound().
  [[nodiscard]] Record& operator[](std::uint32_t index) noexcept {
    TIDEPOOL_ASSERT(2, index != 0 && index < capacity());
    const std::uint32_t x = index + (1U << first_bits);
    // x is at least 1024: the bit 1 changes nothing, and spares a case for x == 0.
    const unsigned k = 31U - static_cast<unsigned>(std::countl_zero(x | 1U)) - first_bits;
    return chunks_[k][x - (1U << (k + first_bits))];
  }
  [[nodiscard]] const Record& operator[](std::uint32_t index) const noexcept {
    return const_cast<descriptor_pool&>(*this)[index];
  }

  /// All numbers ever acquired are below.
  [[nodiscard]] std::uint32_t bound() const noexcept { return bound_; }
  [[nodiscard]] std::uint32_t used() const noexcept { return bound_ - 1 - released_; }

 private:
  [[nodiscard]] static constexpr std::size_t chunk_bytes(unsigned k) noexcept {
    const std::size_t bytes = sizeof(Record) << (k + first_bits);
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
  }
  /// Numbers that the chunks can hold, number 0 included.
  [[nodiscard]] std::uint32_t capacity() const noexcept {
    return (1U << (first_bits + chunk_count_)) - (1U << first_bits);
  }
  [[nodiscard]] int grow() noexcept {
    if (chunk_count_ == chunks_.size()) {
      return ENOMEM;
    }
    const std::size_t bytes = chunk_bytes(chunk_count_);
    const os_memory::mapping made = os_.reserve(bytes, page_bytes);
    if (made.data == nullptr) {
      return made.error;
    }
    if (const int error = os_.commit(made.data, bytes); error != 0) {
      static_cast<void>(os_.release(made.data, bytes));
      return error;
    }
    chunks_[chunk_count_++] = static_cast<Record*>(made.data);
    return 0;
  }

  os_memory& os_;
  std::array<Record*, 21> chunks_{};  // 2^31 records
  unsigned chunk_count_ = 0;
  std::uint32_t bound_ = 1;
  std::uint32_t free_ = 0;
  std::uint32_t released_ = 0;
};

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
