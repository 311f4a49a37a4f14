// SPDX-License-Identifier: Apache-2.0
//
// binned_tree: an ordered_tree cut into one small tree per size bin, eight bins per doubling, with
// a bitmap of the bins that have members. It has the same order and the same answers, but shorter
// walks, which matters because each step reads a cache line of another descriptor. Not thread-safe.
//
// For writers of backends; not stable API: it may change with every version.
#pragma once

#include <tidepool/support/ordered_tree.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace support {

/// The bin of a size: 1 to 15 each have their own, then eight per doubling.
[[nodiscard]] constexpr unsigned size_bin_of(std::uint64_t pages) noexcept {
  const unsigned log = 63U - static_cast<unsigned>(std::countl_zero(pages | 8));
  return 8 * (log - 3) + static_cast<unsigned>(pages >> (log - 3));
}
inline constexpr unsigned size_bin_count = 240;
static_assert(size_bin_of(1) == 1 && size_bin_of(15) == 15);
static_assert(size_bin_of(16) == 16 && size_bin_of(18) == 17);
static_assert(size_bin_of(0xffffffff) == size_bin_count - 1);

/// See ordered_tree. Pre: key().major, a number of pages, is at least 1 and below 2^32.
template <class Pool>
class binned_tree {
 public:
  using pool_type = Pool;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  void insert(pool_type& pool, std::uint32_t node) noexcept {
    const unsigned bin = size_bin_of(pool[node].key().major);
    trees_[bin].insert(pool, node);
    used_[bin / 64] |= std::uint64_t{1} << (bin % 64);
    ++size_;
  }

  /// Pre: a member.
  void erase(pool_type& pool, std::uint32_t node) noexcept {
    const unsigned bin = size_bin_of(pool[node].key().major);
    trees_[bin].erase(pool, node);
    if (trees_[bin].empty()) {
      used_[bin / 64] &= ~(std::uint64_t{1} << (bin % 64));
    }
    --size_;
  }

  /// The first member whose key is not before `key`, or 0.
  [[nodiscard]] std::uint32_t lower_bound(const pool_type& pool,
                                          const tree_key& key) const noexcept {
    const unsigned bin = size_bin_of(key.major);
    if (const std::uint32_t found = trees_[bin].lower_bound(pool, key); found != 0) {
      return found;
    }
    const unsigned above = used_after(bin);
    return above == size_bin_count ? 0 : trees_[above].first(pool);
  }

  [[nodiscard]] std::uint32_t last(const pool_type& pool) const noexcept {
    const unsigned bin = used_before(size_bin_count);
    return bin == size_bin_count ? 0 : trees_[bin].last(pool);
  }
  /// The member after one, or 0.
  [[nodiscard]] std::uint32_t next(const pool_type& pool, std::uint32_t node) const noexcept {
    tree_key key = pool[node].key();
    ++key.minor;
    return lower_bound(pool, key);
  }
  [[nodiscard]] std::uint32_t previous(const pool_type& pool, std::uint32_t node) const noexcept {
    const tree_key key = pool[node].key();
    const unsigned bin = size_bin_of(key.major);
    if (const std::uint32_t found = trees_[bin].before(pool, key); found != 0) {
      return found;
    }
    const unsigned below = used_before(bin);
    return below == size_bin_count ? 0 : trees_[below].last(pool);
  }

  [[nodiscard]] bool check(const pool_type& pool) const noexcept {
    std::size_t members = 0;
    for (unsigned bin = 0; bin != size_bin_count; ++bin) {
      const ordered_tree<Pool>& tree = trees_[bin];
      if (!tree.check(pool) || tree.empty() == ((used_[bin / 64] >> (bin % 64) & 1U) != 0)) {
        return false;
      }
      if (!tree.empty() && (size_bin_of(pool[tree.first(pool)].key().major) != bin ||
                            size_bin_of(pool[tree.last(pool)].key().major) != bin)) {
        return false;
      }
      members += tree.size();
    }
    return members == size_;
  }

 private:
  /// Returns the lowest bin above this one that has members, or size_bin_count.
  [[nodiscard]] unsigned used_after(unsigned bin) const noexcept {
    std::uint64_t word = used_[bin / 64] & (~std::uint64_t{1} << (bin % 64));
    for (unsigned w = bin / 64;; word = used_[w]) {
      if (word != 0) {
        return w * 64 + static_cast<unsigned>(std::countr_zero(word));
      }
      if (++w == used_.size()) {
        return size_bin_count;
      }
    }
  }
  /// Returns the highest bin below this one that has members, or size_bin_count.
  [[nodiscard]] unsigned used_before(unsigned bin) const noexcept {
    std::uint64_t word = used_[bin / 64] & ((std::uint64_t{1} << (bin % 64)) - 1);
    for (unsigned w = bin / 64;; word = used_[w]) {
      if (word != 0) {
        return w * 64 + 63 - static_cast<unsigned>(std::countl_zero(word));
      }
      if (w-- == 0) {
        return size_bin_count;
      }
    }
  }

  std::array<ordered_tree<Pool>, size_bin_count> trees_{};
  std::array<std::uint64_t, 4> used_{};
  std::size_t size_ = 0;
};

}  // namespace support
}  // namespace v0
}  // namespace tidepool
