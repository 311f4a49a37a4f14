// SPDX-License-Identifier: Apache-2.0
//
// flat_index: a map from a non-zero 64-bit key to a slot number; open addressing with linear
// probing, load at most 1/2, deletion by shifting back. For callers' keys and for block addresses;
// never on the warm path. Thread safety: one mutex.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

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
  [[nodiscard]] insertion insert(std::uint64_t key, std::uint32_t slot) noexcept;
  [[nodiscard]] std::optional<std::uint32_t> find(std::uint64_t key) const noexcept;
  /// Removes the key if it maps to this slot.
  void erase(std::uint64_t key, std::uint32_t slot) noexcept;
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  struct cell {
    std::uint64_t key = 0;  // 0: empty
    std::uint32_t slot = 0;
  };
  [[nodiscard]] static std::uint64_t mix(std::uint64_t key) noexcept;
  [[nodiscard]] std::size_t probe(std::uint64_t key) const noexcept;
  [[nodiscard]] bool make_room() noexcept;

  mutable std::mutex mutex_;
  std::vector<cell> cells_;  // guarded by mutex_; a power of two, or empty
  std::size_t size_ = 0;     // guarded by mutex_; size_ <= cells_.size() / 2
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
