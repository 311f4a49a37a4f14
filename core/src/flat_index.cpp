// SPDX-License-Identifier: Apache-2.0
//
// flat_index: probing. Hash: the finaliser of MurmurHash3 (public domain, A. Appleby), a bijection.
#include "flat_index.hpp"

#include <exception>

namespace tidepool {
inline namespace v0 {
namespace detail {

std::uint64_t flat_index::mix(std::uint64_t key) noexcept {
  key ^= key >> 33;
  key *= 0xff51afd7ed558ccdULL;
  key ^= key >> 33;
  key *= 0xc4ceb9fe1a85ec53ULL;
  key ^= key >> 33;
  return key;
}

// The cell of the key, or the empty cell where it would go. Pre: cells_ is not empty.
std::size_t flat_index::probe(std::uint64_t key) const noexcept {
  const std::size_t mask = cells_.size() - 1;
  std::size_t i = mix(key) & mask;
  while (cells_[i].key != 0 && cells_[i].key != key) {
    i = (i + 1) & mask;
  }
  return i;
}

bool flat_index::make_room() noexcept {
  if (!cells_.empty() && size_ < cells_.size() / 2) {
    return true;
  }
  try {
    std::vector<cell> old(cells_.empty() ? 64 : cells_.size() * 2);
    cells_.swap(old);
    for (const cell& c : old) {
      if (c.key != 0) {
        cells_[probe(c.key)] = c;
      }
    }
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

flat_index::insertion flat_index::insert(std::uint64_t key, std::uint32_t slot) noexcept {
  const std::lock_guard lock(mutex_);
  if (!make_room()) {
    return {};
  }
  cell& c = cells_[probe(key)];
  if (c.key == key) {
    return {.stored = true, .added = false, .slot = c.slot};
  }
  c = {key, slot};
  ++size_;
  return {.stored = true, .added = true, .slot = slot};
}

bool flat_index::set(std::uint64_t key, std::uint32_t slot) noexcept {
  const std::lock_guard lock(mutex_);
  if (!make_room()) {
    return false;
  }
  cell& c = cells_[probe(key)];
  size_ += c.key == 0 ? 1 : 0;
  c = {key, slot};
  return true;
}

std::optional<std::uint32_t> flat_index::find(std::uint64_t key) const noexcept {
  const std::lock_guard lock(mutex_);
  if (key == 0 || cells_.empty()) {
    return std::nullopt;
  }
  const cell& c = cells_[probe(key)];
  return c.key == key ? std::optional(c.slot) : std::nullopt;
}

void flat_index::erase(std::uint64_t key, std::uint32_t slot) noexcept {
  const std::lock_guard lock(mutex_);
  if (key == 0 || cells_.empty()) {
    return;
  }
  std::size_t hole = probe(key);
  if (cells_[hole].key != key || cells_[hole].slot != slot) {
    return;
  }
  --size_;
  // Shift back what probed across the hole.
  const std::size_t mask = cells_.size() - 1;
  for (std::size_t i = (hole + 1) & mask; cells_[i].key != 0; i = (i + 1) & mask) {
    const std::size_t home = mix(cells_[i].key) & mask;
    if (((i - home) & mask) >= ((i - hole) & mask)) {
      cells_[hole] = cells_[i];
      hole = i;
    }
  }
  cells_[hole] = {};
}

std::size_t flat_index::size() const noexcept {
  const std::lock_guard lock(mutex_);
  return size_;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
