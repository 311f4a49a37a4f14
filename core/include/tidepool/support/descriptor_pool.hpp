// SPDX-License-Identifier: Apache-2.0
//
// descriptor_pool: records with stable 32-bit numbers, in chunks of doubling size. Number 0 means
// none. Releasing a record never fails and never calls the system, so a free does neither.
// Acquiring has two steps: reserve may fail, and acquire after it may not. Not thread-safe.
//
// For writers of backends; not stable API: it may change with every version.
#pragma once

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
namespace support {

/// Memory for descriptors, or the error that prevented it.
struct chunk {
  void* data = nullptr;  ///< null: refused
  int error = 0;         ///< errno
};

/// Takes the chunks of a descriptor_pool from the host's heap.
class heap_chunks {
 public:
  /// Returns `bytes` bytes with the alignment of operator new.
  [[nodiscard]] chunk allocate(std::size_t bytes) noexcept {
    void* const made = ::operator new(bytes, std::nothrow);
    return {made, made == nullptr ? ENOMEM : 0};
  }
  void release(void* chunk, std::size_t /*bytes*/) noexcept { ::operator delete(chunk); }
};

/// Record is trivially destructible; its member `left` links the released ones. Chunks has the
/// functions of heap_chunks.
/// Invariant: used() + released == the numbers made so far (bound() - 1).
template <class Record, class Chunks = heap_chunks>
class descriptor_pool {
  static_assert(std::is_trivially_destructible_v<Record>);
  static constexpr unsigned first_bits = 10;  // the first chunk has 1024 records

 public:
  using record_type = Record;

  explicit descriptor_pool(Chunks chunks = {}) noexcept : source_(chunks) {}
  descriptor_pool(const descriptor_pool&) = delete;
  descriptor_pool& operator=(const descriptor_pool&) = delete;
  ~descriptor_pool() {
    for (unsigned k = 0; k != chunk_count_; ++k) {
      source_.release(chunks_[k], chunk_bytes(k));
    }
  }

  /// Post: the next n calls of acquire succeed. Returns 0 or errno.
  [[nodiscard]] int reserve(std::uint32_t n) noexcept {
    while (released_ + capacity() < n + bound_) {  // without chunks, capacity is below bound
      if (const int error = grow(); error != 0) {
        return error;
      }
    }
    return 0;
  }

  /// Returns the number of a fresh record. Pre: reserve has made room for it.
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
    // x is at least 1024, so setting bit 0 does not change k, but the compiler need not handle 0.
    const unsigned k = 31U - static_cast<unsigned>(std::countl_zero(x | 1U)) - first_bits;
    return chunks_[k][x - (1U << (k + first_bits))];
  }
  [[nodiscard]] const Record& operator[](std::uint32_t index) const noexcept {
    return const_cast<descriptor_pool&>(*this)[index];
  }

  /// All numbers ever acquired are below this one.
  [[nodiscard]] std::uint32_t bound() const noexcept { return bound_; }
  [[nodiscard]] std::uint32_t used() const noexcept { return bound_ - 1 - released_; }

 private:
  [[nodiscard]] static constexpr std::size_t chunk_bytes(unsigned k) noexcept {
    return sizeof(Record) << (k + first_bits);
  }
  /// How many numbers the chunks can hold, number 0 included.
  [[nodiscard]] std::uint32_t capacity() const noexcept {
    return (1U << (first_bits + chunk_count_)) - (1U << first_bits);
  }
  [[nodiscard]] int grow() noexcept {
    if (chunk_count_ == chunks_.size()) {
      return ENOMEM;
    }
    const chunk made = source_.allocate(chunk_bytes(chunk_count_));
    if (made.data == nullptr) {
      return made.error;
    }
    chunks_[chunk_count_++] = static_cast<Record*>(made.data);
    return 0;
  }

  Chunks source_;
  std::array<Record*, 21> chunks_{};  // 2^31 records
  unsigned chunk_count_ = 0;
  std::uint32_t bound_ = 1;
  std::uint32_t free_ = 0;
  std::uint32_t released_ = 0;
};

}  // namespace support
}  // namespace v0
}  // namespace tidepool
