// SPDX-License-Identifier: Apache-2.0
//
// flat_index: a map from a non-zero 64-bit key to a slot number and a generation, for callers' keys
// and for block addresses. It uses open addressing over buckets of one cache line with four places
// each. The load is at most 1/2, and a deletion moves later keys back. The warm path never uses it.
// Thread safety: one mutex, which look-ups of many keys release now and then.
#pragma once

#include "system/address_space.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

class flat_index {
 public:
  /// Inserts or replaces. False: no memory; nothing changed.
  [[nodiscard]] bool set(std::uint64_t key, std::uint32_t slot) noexcept {
    return set_answer([key] { return key; }, slot);
  }
  /// The same for the key that key() returns, which is called with the lock held; 0: no key.
  template <class F>
  [[nodiscard]] bool set_answer(F&& key, std::uint32_t slot) noexcept {
    const std::lock_guard lock(mutex_);
    const std::uint64_t wanted = key();
    return wanted == 0 || set_locked(wanted, slot);
  }
  /// Inserts unless the key is there. If it was, `added` is false and `slot` is its slot.
  struct insertion {
    bool stored = false;  ///< false: no memory
    bool added = false;
    std::uint32_t slot = 0;
  };
  [[nodiscard]] insertion insert(std::uint64_t key, std::uint32_t slot,
                                 std::uint32_t generation = 0) noexcept;
  [[nodiscard]] std::optional<std::uint32_t> find(std::uint64_t key) const noexcept;
  /// The value of a key. Generation 0: there is no such key, or set() made it.
  struct value {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
  };
  /// Calls f(i, value) for each keys[i], in order, with the lock held. The cache misses of several
  /// look-ups overlap.
  template <class F>
  void find_each(std::span<const std::uint64_t> keys, F&& f) const noexcept;
  /// Removes the key if it maps to this slot.
  void erase(std::uint64_t key, std::uint32_t slot) noexcept;
  /// Removes all keys and calls then() with the lock held.
  template <class F>
  void clear(F&& then) noexcept {
    const std::lock_guard lock(mutex_);
    memory_ = {};
    buckets_ = nullptr;
    count_ = 0;
    size_ = 0;
    then();
  }
  [[nodiscard]] std::size_t size() const noexcept;
  /// The finaliser of MurmurHash3 (public domain, A. Appleby), a bijection.
  [[nodiscard]] static std::uint64_t mix(std::uint64_t key) noexcept {
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdULL;
    key ^= key >> 33;
    key *= 0xc4ceb9fe1a85ec53ULL;
    key ^= key >> 33;
    return key;
  }

 private:
  static constexpr std::size_t places = 4;
  /// Invariant: if a key is d buckets behind its home, all d buckets from its home on are full. So
  /// a look-up ends at the first bucket that is not full.
  struct alignas(64) bucket {
    std::array<std::uint64_t, places> keys;  // 0: an empty place, whose value is {}
    std::array<value, places> to;
    /// Returns the place of the key, or `places`. No branch depends on the place, because it cannot
    /// be predicted; compilers would make branches of a loop. Only 0 can be there several times,
    /// and it always means an empty place.
    [[nodiscard]] std::size_t place_of(std::uint64_t key) const noexcept {
      static_assert(places == 4);
      const std::size_t at = std::size_t{keys[1] == key} | 2 * std::size_t{keys[2] == key} |
                             3 * std::size_t{keys[3] == key};
      return keys[at] == key ? at : places;
    }
    [[nodiscard]] std::size_t empty_place() const noexcept;
  };
  struct place {
    bucket* in;
    std::size_t n;
  };
  /// The value at a place; generation 0 if the place is empty.
  [[nodiscard]] static value value_at(place where) noexcept { return where.in->to[where.n]; }
  [[nodiscard]] place probe(std::uint64_t key) const noexcept;
  void put(place where, std::uint64_t key, value to) noexcept;
  [[nodiscard]] bool make_room() noexcept;
  [[nodiscard]] bool set_locked(std::uint64_t key, std::uint32_t slot) noexcept;

  mutable std::mutex mutex_;
  address_space memory_;       // guarded by mutex_
  bucket* buckets_ = nullptr;  // guarded by mutex_
  std::size_t count_ = 0;      // of buckets, guarded by mutex_; a power of two, or 0
  std::size_t size_ = 0;       // of keys, guarded by mutex_; size_ <= places / 2 * count_
};

// Prefetches the bucket of a key `ahead` keys before it is read, so that misses always overlap. It
// releases the lock between groups of keys.
template <class F>
void flat_index::find_each(std::span<const std::uint64_t> keys, F&& f) const noexcept {
  constexpr std::size_t group = 256;
  constexpr std::size_t ahead = 32;
  std::array<std::size_t, ahead> homes;
  for (std::size_t at = 0; at < keys.size(); at += group) {
    const std::size_t n = std::min(group, keys.size() - at);
    const std::lock_guard lock(mutex_);
    if (count_ == 0) {
      for (std::size_t i = 0; i < n; ++i) {
        f(at + i, value{});
      }
      continue;
    }
    const std::size_t mask = count_ - 1;
    const bucket* const buckets = buckets_;
    for (std::size_t i = 0; i < n + ahead; ++i) {
      if (i >= ahead) {
        const bucket& home = buckets[homes[i % ahead]];
        const std::uint64_t key = keys[at + i - ahead];
        const std::size_t in = home.place_of(key);
        f(at + i - ahead, in != places ? home.to[in] : value_at(probe(key)));
      }
      if (i < n) {
        homes[i % ahead] = mix(keys[at + i]) & mask;
        __builtin_prefetch(&buckets[homes[i % ahead]]);
      }
    }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
