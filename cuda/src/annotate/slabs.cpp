// SPDX-License-Identifier: Apache-2.0
//
// Entries and names of annotated_slabs.
#include "annotate/slabs.hpp"

#include <array>
#include <cstdio>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

const char* kind_of(device where) noexcept {
  switch (where.kind()) {
  case device_kind::pinned:
    return "pinned";
  case device_kind::managed:
    return "managed";
  default:
    return "cuda";
  }
}

const char* suffix_of(device where) noexcept {
  switch (where.memory()) {
  case memory_kind::plain:
    return "/plain";
  case memory_kind::growable:
    return "/growable";
  case memory_kind::pooled:
    break;
  }
  return "";
}

std::uintptr_t address_of(const void* data) noexcept {
  return reinterpret_cast<std::uintptr_t>(data);
}

}  // namespace

void annotated_slabs::add(device where, const slab& what) noexcept {
  const std::lock_guard lock(mutex_);
  try {
    const unsigned number = numbers_[where]++;
    const bool is_node = where.node() != device::any_node;
    std::array<char, 64> name{};
    std::snprintf(name.data(), name.size(), "tidepool %s:%s%u%s slab %u", kind_of(where),
                  is_node ? "node" : "",
                  is_node ? unsigned{where.node()} : unsigned{where.ordinal()}, suffix_of(where),
                  number);
    // Room to grow included: an annotator's slab cannot become longer.
    const std::span<const std::byte> memory(what.data, what.address_space_bytes);
    entry& made = entries_[address_of(what.data)];
    made = {address_of(what.data) + memory.size(), tool_.add_slab(memory, name.data())};
  } catch (...) {  // no memory for the entry
  }
}

void annotated_slabs::remove(const slab& what) noexcept {
  const std::lock_guard lock(mutex_);
  if (const auto found = entries_.find(address_of(what.data)); found != entries_.end()) {
    tool_.remove_slab(found->second.slab);
    entries_.erase(found);
  }
}

std::optional<annotated_slabs::entry> annotated_slabs::find(const void* data) const noexcept {
  const std::lock_guard lock(mutex_);
  const auto after = entries_.upper_bound(address_of(data));
  if (after == entries_.begin() || std::prev(after)->second.end <= address_of(data)) {
    return std::nullopt;
  }
  return std::prev(after)->second;
}

void annotated_slabs::add_blocks(std::span<const block> blocks) noexcept {
  while (!blocks.empty()) {
    const std::optional<entry> home = find(blocks.front().data);
    std::size_t n = 1;
    while (home && n != blocks.size() && address_of(blocks[n].data) < home->end &&
           address_of(blocks[n].data) >= address_of(blocks.front().data)) {
      ++n;
    }
    if (home) {
      tool_.add_blocks(home->slab, blocks.first(n));
    }
    blocks = blocks.subspan(n);
  }
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
