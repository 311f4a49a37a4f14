// SPDX-License-Identifier: Apache-2.0
//
// extent_heap: slabs that come, grow longer, lie idle and go.
#include "heap/extent_heap.hpp"
#include <tidepool/assert.hpp>

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace cuda {

void extent_heap::add_slab(const slab& what) noexcept {
  const std::uint32_t s = slabs_.acquire();
  const std::uint32_t index = extents_.acquire();
  slab_record& home = slabs_[s];
  home.memory = what;
  home.first = index;
  home.last = index;
  extent& e = extents_[index];
  e.page = reinterpret_cast<std::uintptr_t>(what.data) / page_bytes;
  e.pages = static_cast<std::uint32_t>(what.bytes / page_bytes);
  e.slab = s;
  e.state = extent_state::free;
  plant(index);
  pages_ += e.pages;
  address_space_bytes_ += what.address_space_bytes;
}

status extent_heap::set_aside() noexcept {
  TIDEPOOL_ASSERT(1, set_aside_ == 0);
  if (const status why = reserve(); !why.ok()) {
    return why;
  }
  set_aside_ = extents_.acquire();
  return {};
}

void extent_heap::give_up_set_aside() noexcept {
  extents_.release(set_aside_);
  set_aside_ = 0;
}

void extent_heap::lengthen(std::uint32_t slab_index, const slab& what) noexcept {
  slab_record& home = slabs_[slab_index];
  TIDEPOOL_ASSERT(1, what.data == home.memory.data && what.bytes > home.memory.bytes);
  const std::uint32_t index = set_aside_;
  set_aside_ = 0;
  extent& e = extents_[index];
  e.page = reinterpret_cast<std::uintptr_t>(what.data + home.memory.bytes) / page_bytes;
  e.pages = static_cast<std::uint32_t>((what.bytes - home.memory.bytes) / page_bytes);
  e.slab = slab_index;
  e.state = extent_state::free;
  address_space_bytes_ += what.address_space_bytes - home.memory.address_space_bytes;
  pages_ += e.pages;
  home.memory = what;
  link_after(home.last, index);
  absorb_neighbours(index);
  plant(index);
}

std::uint32_t extent_heap::free_after(std::uint32_t index) const noexcept {
  const std::uint32_t after = extents_[index].after;
  const bool is_free = after != 0 && extents_[after].state == extent_state::free &&
                       extents_[after].heap == no_stream;
  return is_free ? extents_[after].pages : 0;
}

bool extent_heap::is_last(std::uint32_t index) const noexcept {
  const std::uint32_t last = slabs_[extents_[index].slab].last;
  return last == index || (last == extents_[index].after && free_after(index) != 0);
}

bool extent_heap::is_idle(const slab_record& home) const noexcept {
  return home.first != 0 && home.first == home.last &&
         extents_[home.first].state == extent_state::free && extents_[home.first].heap == no_stream;
}

// Begins with the highest numbers, so that the slabs made first stay.
std::uint32_t extent_heap::take_idle(std::size_t pages, std::uint64_t last) noexcept {
  std::uint32_t list = 0;
  std::size_t taken = 0;
  for (std::uint32_t s = slabs_.bound() - 1; s != 0 && taken < pages; --s) {
    slab_record& home = slabs_[s];
    if (!is_idle(home) ||
        (last != UINT64_MAX && (home.idle_since == 0 || home.idle_since > last))) {
      continue;
    }
    extent& e = extents_[home.first];
    uproot(home.first);
    e.state = extent_state::block;  // until it is given back no request may take it
    taken += e.pages;
    home.newer = list;
    list = s;
  }
  return list;
}

void extent_heap::drop_idle(std::uint32_t slab_index) noexcept {
  const slab_record& home = slabs_[slab_index];
  pages_ -= extents_[home.first].pages;
  address_space_bytes_ -= home.memory.address_space_bytes;
  extents_.release(home.first);
  slabs_.release(slab_index);
}

void extent_heap::keep_idle(std::uint32_t slab_index) noexcept {
  slabs_[slab_index].newer = 0;
  release(slabs_[slab_index].first, no_stream, 0);
}

void extent_heap::note_idle(std::uint64_t tick) noexcept {
  for (std::uint32_t s = 1; s < slabs_.bound(); ++s) {
    slab_record& home = slabs_[s];
    if (home.first == 0) {
      continue;
    }
    home.idle_since = !is_idle(home) ? 0 : home.idle_since != 0 ? home.idle_since : tick;
  }
}

std::size_t extent_heap::longest_free() const noexcept {
  std::size_t longest = 0;
  for (const free_heap& heap : heaps_) {
    const std::uint32_t last = heap.members.last(extents_);
    longest = std::max<std::size_t>(longest, last == 0 ? 0 : extents_[last].pages);
  }
  return longest;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
