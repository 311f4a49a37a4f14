// SPDX-License-Identifier: Apache-2.0
//
// flat_index: a map from a non-zero 64-bit key to a slot number and a generation; open addressing
// over buckets of one cache line with four places each, load at most 1/2, deletion by moving back.
// For callers' keys and for block addresses; never on the warm path. Thread safety: one mutex,
// which look-ups of many keys give back now and then.
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
  /// The same for the key that key() answers with the lock held; 0: none.
  template <class F>
  [[nodiscard]] bool set_answer(F&& key, std::uint32_t slot) noexcept {
    const std::lock_guard lock(mutex_);
    const std::uint64_t wanted = key();
    return wanted == 0 || set_locked(wanted, slot);
  }
  /// Inserts unless the key is there. False in `added`: it was, `slot` is what it maps to.
  struct insertion {
    bool stored = false;  ///< false: no memory
    bool added = false;
    std::uint32_t slot = 0;
  };
  [[nodiscard]] insertion insert(std::uint64_t key, std::uint32_t slot,
                                 std::uint32_t generation = 0) noexcept;
  [[nodiscard]] std::optional<std::uint32_t> find(std::uint64_t key) const noexcept;
  /// What a key maps to; generation 0: nothing, or what set() made.
  struct value {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
  };
  /// Calls f(i, value) for each keys[i], in order, with the lock held. The misses of several
  /// look-ups overlap.
  template <class F>
  void find_each(std::span<const std::uint64_t> keys, F&& f) const noexcept;
  /// Removes the key if it maps to this slot.
  void erase(std::uint64_t key, std::uint32_t slot) noexcept;
  /// Removes all and calls then(), with the lock held.
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
  /// Invariant: a key that stands d buckets behind its home has d full buckets before it, from its
  /// home on. So a look-up ends at the first bucket that is not full.
  struct alignas(64) bucket {
    std::array<std::uint64_t, places> keys;  // 0: an empty place, whose value is {}
    std::array<value, places> to;
    /// Where the key is, or `places`. Without branches, as nobody could predict which place it is;
    /// compilers make them of a loop. Only 0 can be there twice, and means none wherever it is.
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
  /// None where the place is empty.
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

// The bucket of a key is fetched `ahead` keys before it is looked at: so misses overlap, all the
// time. The lock is given back between groups.
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
