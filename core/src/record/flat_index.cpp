// SPDX-License-Identifier: Apache-2.0
//
// flat_index: probes bucket by bucket.
#include "record/flat_index.hpp"

#include <algorithm>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace detail {

std::size_t flat_index::bucket::empty_place() const noexcept {
  return static_cast<std::size_t>(std::find(keys.begin(), keys.end(), 0U) - keys.begin());
}

// Returns the place of the key, or the empty place where it would go; key 0 finds the empty place.
// Pre: there are buckets.
flat_index::place flat_index::probe(std::uint64_t key) const noexcept {
  const std::size_t mask = count_ - 1;
  for (std::size_t i = mix(key) & mask;; i = (i + 1) & mask) {
    bucket& in = buckets_[i];
    if (const std::size_t n = in.place_of(key); n != places) {
      return {&in, n};
    }
    if (const std::size_t n = in.empty_place(); n != places) {
      return {&in, n};
    }
  }
}

void flat_index::put(place where, std::uint64_t key, value to) noexcept {
  where.in->keys[where.n] = key;
  where.in->to[where.n] = to;
}

bool flat_index::make_room() noexcept {
  constexpr std::size_t fewest = 64;
  if (count_ != 0 && size_ < places / 2 * count_) {
    return true;
  }
  const std::size_t wanted = count_ == 0 ? fewest : count_ * 2;
  address_space made = address_space::reserve(wanted * sizeof(bucket));
  if (!made) {
    return false;
  }
  made.advise_huge();
  std::swap(memory_, made);
  const std::span<const bucket> old(buckets_, count_);
  buckets_ = static_cast<bucket*>(memory_.data());  // zero: all empty
  count_ = wanted;
  for (const bucket& each : old) {
    for (std::size_t n = 0; n < places; ++n) {
      if (each.keys[n] != 0) {
        put(probe(each.keys[n]), each.keys[n], each.to[n]);
      }
    }
  }
  return true;
}

flat_index::insertion flat_index::insert(std::uint64_t key, std::uint32_t slot,
                                         std::uint32_t generation) noexcept {
  const std::lock_guard lock(mutex_);
  if (!make_room()) {
    return {};
  }
  const place at = probe(key);
  if (at.in->keys[at.n] == key) {
    return {.stored = true, .added = false, .slot = at.in->to[at.n].slot};
  }
  put(at, key, {slot, generation});
  ++size_;
  return {.stored = true, .added = true, .slot = slot};
}

bool flat_index::set_locked(std::uint64_t key, std::uint32_t slot) noexcept {
  if (!make_room()) {
    return false;
  }
  const place at = probe(key);
  size_ += at.in->keys[at.n] == 0 ? 1 : 0;
  put(at, key, {slot, 0});
  return true;
}

std::optional<std::uint32_t> flat_index::find(std::uint64_t key) const noexcept {
  const std::lock_guard lock(mutex_);
  if (key == 0 || count_ == 0) {
    return std::nullopt;
  }
  const place at = probe(key);
  return at.in->keys[at.n] == key ? std::optional(at.in->to[at.n].slot) : std::nullopt;
}

void flat_index::erase(std::uint64_t key, std::uint32_t slot) noexcept {
  const std::lock_guard lock(mutex_);
  if (key == 0 || count_ == 0) {
    return;
  }
  place hole = probe(key);
  if (hole.in->keys[hole.n] != key || hole.in->to[hole.n].slot != slot) {
    return;
  }
  --size_;
  // Keys behind the hole may have passed this bucket while it was full, so they may have to move
  // back into it.
  const std::size_t mask = count_ - 1;
  auto of_hole = static_cast<std::size_t>(hole.in - buckets_);
  bool was_full = hole.in->empty_place() == places;
  put(hole, 0, {});
  for (std::size_t i = (of_hole + 1) & mask; was_full; i = (i + 1) & mask) {
    bucket& next = buckets_[i];
    was_full = next.empty_place() == places;
    for (std::size_t n = 0; n < places; ++n) {
      const std::uint64_t moved = next.keys[n];
      if (moved != 0 && ((i - mix(moved)) & mask) >= ((i - of_hole) & mask)) {
        put(hole, moved, next.to[n]);
        put({&next, n}, 0, {});
        hole = {&next, n};
        of_hole = i;
        break;
      }
    }
  }
}

std::size_t flat_index::size() const noexcept {
  const std::lock_guard lock(mutex_);
  return size_;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
