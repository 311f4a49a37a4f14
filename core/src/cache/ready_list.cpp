// SPDX-License-Identifier: Apache-2.0
//
// ready_list: the operations of the stack.
#include "cache/ready_list.hpp"

#include "record/slot_table.hpp"

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace detail {

std::size_t ready_list::take(std::span<record*> out, std::size_t bytes,
                             std::size_t alignment) noexcept {
  const std::lock_guard lock(mutex_);
  std::size_t n = 0;
  std::size_t looks = out.size() + 8;
  record* previous = nullptr;
  record* r = head_;
  while (r != nullptr && n < out.size() && looks-- > 0) {
    record* const next = next_of(*r);
    const std::size_t capacity = r->capacity.load(std::memory_order_relaxed);
    const auto address = reinterpret_cast<std::uintptr_t>(r->data.load(std::memory_order_relaxed));
    if (capacity >= bytes && (address & (alignment - 1)) == 0) {
      out[n++] = r;
      r->listed = 0;
      bytes_ -= capacity;
      --count_;
      if (previous == nullptr) {
        head_ = next;
      } else {
        set_next(*previous, next);
      }
    } else {
      previous = r;
    }
    r = next;
  }
  return n;
}

std::size_t ready_list::put(std::span<record* const> records) noexcept {
  const std::lock_guard lock(mutex_);
  std::size_t refused = 0;
  for (record* r : records) {
    if (r->listed != 0) {
      ++refused;
      continue;
    }
    r->listed = 1;
    set_next(*r, head_);
    head_ = r;
    bytes_ += r->capacity.load(std::memory_order_relaxed);
    ++count_;
  }
  return refused;
}

record* ready_list::take_above(std::size_t keep) noexcept {
  const std::lock_guard lock(mutex_);
  record* taken = nullptr;
  while (count_ > keep) {
    record* const r = head_;
    head_ = next_of(*r);
    r->listed = 0;
    bytes_ -= r->capacity.load(std::memory_order_relaxed);
    --count_;
    set_next(*r, taken);
    taken = r;
  }
  return taken;
}

std::size_t ready_list::count() const noexcept {
  const std::lock_guard lock(mutex_);
  return count_;
}

std::size_t ready_list::bytes() const noexcept {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::size_t ready_list::reserve_count() const noexcept {
  const std::lock_guard lock(mutex_);
  return reserve_;
}

void ready_list::raise_reserve(std::size_t count) noexcept {
  const std::lock_guard lock(mutex_);
  reserve_ = std::max(reserve_, count);
}

void ready_list::clear_reserve() noexcept {
  const std::lock_guard lock(mutex_);
  reserve_ = 0;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
