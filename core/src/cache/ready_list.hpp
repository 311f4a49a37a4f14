// SPDX-License-Identifier: Apache-2.0
//
// ready_list: an intrusive stack of the free, bound records of one size class in one lane that no
// thread holds. Threads exchange blocks here in batches. Moving records allocates nothing.
// Thread safety: each list has one mutex, which is held for a short time.
#pragma once

#include "record/record.hpp"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

class ready_list {
 public:
  /// Takes up to out.size() records that are at least `bytes` long and aligned, in stack order.
  /// Looks at no more than out.size() + 8 records.
  [[nodiscard]] std::size_t take(std::span<record*> out, std::size_t bytes,
                                 std::size_t alignment) noexcept;
  /// Puts records in. Returns how many it refused because they are in a list already, which only
  /// misuse can cause.
  std::size_t put(std::span<record* const> records) noexcept;
  /// Takes everything above `keep` records, as a linked list.
  [[nodiscard]] record* take_above(std::size_t keep) noexcept;
  [[nodiscard]] std::size_t count() const noexcept;
  [[nodiscard]] std::size_t bytes() const noexcept;

  /// Calls f for each record. False: the count or the bytes do not add up.
  template <class F>
  [[nodiscard]] bool check(F&& f) const {
    const std::lock_guard lock(mutex_);
    std::size_t count = 0;
    std::size_t bytes = 0;
    for (record* r = head_; r != nullptr && count <= count_; r = next_of(*r)) {
      ++count;
      bytes += r->capacity.load(std::memory_order_relaxed);
      f(*r);
    }
    return count == count_ && bytes == bytes_;
  }

  /// The number of pre-warmed records: the list keeps this many even beyond its usual limit.
  std::size_t reserve_count() const noexcept;
  void raise_reserve(std::size_t count) noexcept;
  void clear_reserve() noexcept;

 private:
  mutable std::mutex mutex_;
  record* head_ = nullptr;   // guarded by mutex_
  std::size_t count_ = 0;    // guarded by mutex_
  std::size_t bytes_ = 0;    // guarded by mutex_
  std::size_t reserve_ = 0;  // guarded by mutex_
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
