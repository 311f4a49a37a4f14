// SPDX-License-Identifier: Apache-2.0
//
// flat_index: probing. Hash: the finaliser of MurmurHash3 (public domain, A. Appleby), a bijection.
#include "flat_index.hpp"

#include <algorithm>
#include <array>
#include <utility>

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

// The cell of the key, or the empty cell where it would go. Pre: there are cells.
std::size_t flat_index::probe(std::uint64_t key) const noexcept {
  const std::size_t mask = count_ - 1;
  std::size_t i = mix(key) & mask;
  while (cells_[i].key != 0 && cells_[i].key != key) {
    i = (i + 1) & mask;
  }
  return i;
}

bool flat_index::make_room() noexcept {
  constexpr std::size_t fewest = 256;
  if (count_ != 0 && size_ < count_ / 2) {
    return true;
  }
  const std::size_t wanted = count_ == 0 ? fewest : count_ * 2;
  address_space made = address_space::reserve(wanted * sizeof(cell));
  if (!made) {
    return false;
  }
  made.advise_huge();
  std::swap(memory_, made);
  const std::span<const cell> old(cells_, count_);
  cells_ = static_cast<cell*>(memory_.data());  // zero: all empty
  count_ = wanted;
  for (const cell& c : old) {
    if (c.key != 0) {
      cells_[probe(c.key)] = c;
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
  cell& c = cells_[probe(key)];
  if (c.key == key) {
    return {.stored = true, .added = false, .slot = c.to.slot};
  }
  c = {key, {slot, generation}};
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
  c = {key, {slot, 0}};
  return true;
}

std::optional<std::uint32_t> flat_index::find(std::uint64_t key) const noexcept {
  const std::lock_guard lock(mutex_);
  if (key == 0 || count_ == 0) {
    return std::nullopt;
  }
  const cell& c = cells_[probe(key)];
  return c.key == key ? std::optional(c.to.slot) : std::nullopt;
}

// The place of a key is fetched `ahead` keys before it is looked at: so misses overlap, all the
// time.
void flat_index::find_n(std::span<const std::uint64_t> keys,
                        std::span<value> found) const noexcept {
  constexpr std::size_t group = 256;
  constexpr std::size_t ahead = 32;
  std::array<std::size_t, ahead> homes;
  for (std::size_t at = 0; at < keys.size(); at += group) {
    const std::size_t n = std::min(group, keys.size() - at);
    const std::lock_guard lock(mutex_);
    if (count_ == 0) {
      std::fill_n(found.begin() + static_cast<std::ptrdiff_t>(at), n, value{});
      continue;
    }
    const std::size_t mask = count_ - 1;
    const cell* const cells = cells_;
    for (std::size_t i = 0; i < n + ahead; ++i) {
      if (i >= ahead) {
        const std::uint64_t key = keys[at + i - ahead];
        std::size_t place = homes[i % ahead];
        while (cells[place].key != 0 && cells[place].key != key) {
          place = (place + 1) & mask;
        }
        found[at + i - ahead] = cells[place].key != 0 ? cells[place].to : value{};
      }
      if (i < n) {
        homes[i % ahead] = mix(keys[at + i]) & mask;
        __builtin_prefetch(&cells[homes[i % ahead]]);
      }
    }
  }
}

void flat_index::erase(std::uint64_t key, std::uint32_t slot) noexcept {
  const std::lock_guard lock(mutex_);
  if (key == 0 || count_ == 0) {
    return;
  }
  std::size_t hole = probe(key);
  if (cells_[hole].key != key || cells_[hole].to.slot != slot) {
    return;
  }
  --size_;
  // Shift back what probed across the hole.
  const std::size_t mask = count_ - 1;
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
