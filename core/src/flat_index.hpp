// SPDX-License-Identifier: Apache-2.0
//
// flat_index: a map from a non-zero 64-bit key to a slot number and a generation; open addressing
// with linear probing, load at most 1/2, deletion by shifting back. For callers' keys and for block
// addresses; never on the warm path. Thread safety: one mutex, which look-ups of many keys give
// back now and then.
#pragma once

#include "address_space.hpp"

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
  [[nodiscard]] bool set(std::uint64_t key, std::uint32_t slot) noexcept;
  /// Inserts unless the key is there. False in `added`: it was, `slot` is what it maps to.
  struct insertion {
    bool stored = false;  ///< false: no memory
    bool added = false;
    std::uint32_t slot = 0;
  };
  [[nodiscard]] insertion insert(std::uint64_t key, std::uint32_t slot,
                                 std::uint32_t generation = 0) noexcept;
  [[nodiscard]] std::optional<std::uint32_t> find(std::uint64_t key) const noexcept;
  /// What each key maps to; generation 0: nothing. Pre: found.size() >= keys.size(). The misses of
  /// several look-ups overlap.
  struct value {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
  };
  void find_n(std::span<const std::uint64_t> keys, std::span<value> found) const noexcept;
  /// Removes the key if it maps to this slot.
  void erase(std::uint64_t key, std::uint32_t slot) noexcept;
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  struct cell {
    std::uint64_t key = 0;  // 0: empty
    value to;
  };
  [[nodiscard]] static std::uint64_t mix(std::uint64_t key) noexcept;
  [[nodiscard]] std::size_t probe(std::uint64_t key) const noexcept;
  [[nodiscard]] bool make_room() noexcept;

  mutable std::mutex mutex_;
  address_space memory_;   // guarded by mutex_
  cell* cells_ = nullptr;  // guarded by mutex_
  std::size_t count_ = 0;  // of cells, guarded by mutex_; a power of two, or 0
  std::size_t size_ = 0;   // guarded by mutex_; size_ <= count_ / 2
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
