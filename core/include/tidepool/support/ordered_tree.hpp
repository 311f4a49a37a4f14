// SPDX-License-Identifier: Apache-2.0
//
// ordered_tree: an intrusive ordered set of descriptors that allocates nothing and has no parent
// links. It is a treap whose priorities are hashes of the descriptors' numbers, so its shape
// depends on its content alone. Insert, erase and every look-up take O(log n) expected. Not
// thread-safe.
//
// For writers of backends; not stable API: it may change with every version.
#pragma once

#include <tidepool/assert.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace tidepool {
inline namespace v0 {
namespace support {

/// Order of a tree: by `major`, then by `minor`. No two members have equal keys.
struct tree_key {
  std::uint64_t major = 0;
  std::uint64_t minor = 0;
  friend constexpr auto operator<=>(const tree_key&, const tree_key&) noexcept = default;
};

/// Pool is a descriptor_pool of a record with std::uint32_t left, right and tree_key key() const.
/// The key of a member must not change.
template <class Pool>
class ordered_tree {
  using record_type = typename Pool::record_type;

 public:
  using pool_type = Pool;

  [[nodiscard]] bool empty() const noexcept { return root_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  void insert(pool_type& pool, std::uint32_t node) noexcept {
    const tree_key key = pool[node].key();
    const std::uint32_t mine = priority(node);
    std::uint32_t* link = &root_;
    while (*link != 0 && priority(*link) >= mine) {
      record_type& at = pool[*link];
      TIDEPOOL_ASSERT(2, at.key() != key);
      link = key < at.key() ? &at.left : &at.right;
    }
    // Everything below *link goes to one side of the new node.
    std::uint32_t rest = *link;
    *link = node;
    std::uint32_t* low = &pool[node].left;
    std::uint32_t* high = &pool[node].right;
    while (rest != 0) {
      record_type& at = pool[rest];
      if (at.key() < key) {
        *low = rest;
        low = &at.right;
        rest = at.right;
      } else {
        *high = rest;
        high = &at.left;
        rest = at.left;
      }
    }
    *low = 0;
    *high = 0;
    ++size_;
  }

  /// Pre: a member.
  void erase(pool_type& pool, std::uint32_t node) noexcept {
    const tree_key key = pool[node].key();
    std::uint32_t* link = &root_;
    while (*link != node) {
      TIDEPOOL_ASSERT(1, *link != 0);
      record_type& at = pool[*link];
      link = key < at.key() ? &at.left : &at.right;
    }
    std::uint32_t low = pool[node].left;
    std::uint32_t high = pool[node].right;
    while (low != 0 && high != 0) {
      if (priority(low) >= priority(high)) {
        *link = low;
        link = &pool[low].right;
        low = *link;
      } else {
        *link = high;
        link = &pool[high].left;
        high = *link;
      }
    }
    *link = low != 0 ? low : high;
    pool[node].left = 0;
    pool[node].right = 0;
    --size_;
  }

  /// The first member whose key is not before `key`, or 0.
  [[nodiscard]] std::uint32_t lower_bound(const pool_type& pool,
                                          const tree_key& key) const noexcept {
    std::uint32_t found = 0;
    for (std::uint32_t at = root_; at != 0;) {
      const record_type& record = pool[at];
      if (record.key() < key) {
        at = record.right;
      } else {
        found = at;
        at = record.left;
      }
    }
    return found;
  }

  /// The last member whose key is before `key`, or 0.
  [[nodiscard]] std::uint32_t before(const pool_type& pool, const tree_key& key) const noexcept {
    std::uint32_t found = 0;
    for (std::uint32_t at = root_; at != 0;) {
      const record_type& record = pool[at];
      if (record.key() < key) {
        found = at;
        at = record.right;
      } else {
        at = record.left;
      }
    }
    return found;
  }

  [[nodiscard]] std::uint32_t first(const pool_type& pool) const noexcept {
    return lower_bound(pool, {0, 0});
  }
  [[nodiscard]] std::uint32_t last(const pool_type& pool) const noexcept {
    return before(pool, {UINT64_MAX, UINT64_MAX});
  }
  /// The member after one, or 0.
  [[nodiscard]] std::uint32_t next(const pool_type& pool, std::uint32_t node) const noexcept {
    tree_key key = pool[node].key();
    ++key.minor;  // keys are addresses or sizes: no minor is UINT64_MAX
    return lower_bound(pool, key);
  }
  [[nodiscard]] std::uint32_t previous(const pool_type& pool, std::uint32_t node) const noexcept {
    return before(pool, pool[node].key());
  }

  /// Are order, priorities and size right?
  [[nodiscard]] bool check(const pool_type& pool) const noexcept {
    std::size_t seen = 0;
    return check_below(pool, root_, {}, seen) && seen == size_;
  }

 private:
  [[nodiscard]] static constexpr std::uint32_t priority(std::uint32_t node) noexcept {
    std::uint32_t x = node * 0x9e3779b1U;
    x ^= x >> 15;
    x *= 0x85ebca77U;
    return x ^ (x >> 13);
  }

  // The bounds of the keys in a subtree; null: no bound.
  struct key_range {
    const tree_key* low = nullptr;
    const tree_key* high = nullptr;
  };
  // The recursion is as deep as the tree, which is a few tens of levels.
  [[nodiscard]] bool check_below(const pool_type& pool, std::uint32_t node, const key_range& within,
                                 std::size_t& seen) const noexcept {
    if (node == 0) {
      return true;
    }
    if (node >= pool.bound() || ++seen > size_) {
      return false;
    }
    const record_type& at = pool[node];
    const tree_key key = at.key();
    if ((within.low != nullptr && !(*within.low < key)) ||
        (within.high != nullptr && !(key < *within.high))) {
      return false;
    }
    for (const std::uint32_t child : {at.left, at.right}) {
      if (child != 0 && priority(child) > priority(node)) {
        return false;
      }
    }
    return check_below(pool, at.left, {within.low, &key}, seen) &&
           check_below(pool, at.right, {&key, within.high}, seen);
  }

  std::uint32_t root_ = 0;
  std::size_t size_ = 0;
};

}  // namespace support
}  // namespace v0
}  // namespace tidepool
