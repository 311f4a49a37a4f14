// SPDX-License-Identifier: Apache-2.0
//
// extent_heap: finding, cutting, giving back and moving extents. Slabs are in extent_slabs.cpp, the
// checks in extent_check.cpp.
#include "heap/extent_heap.hpp"

#include <tidepool/assert.hpp>

#include <algorithm>
#include <exception>

namespace tidepool {
inline namespace v0 {
namespace cuda {

status extent_heap::make_heaps(stream_index count) noexcept {
  try {
    if (heaps_.size() < count) {
      heaps_.resize(count);
    }
    return {};
  } catch (const std::exception&) {
    return {.code = errc::out_of_memory};
  }
}

status extent_heap::reserve() noexcept {
  // A cut makes two extents, a new slab or a longer end of one makes one.
  for (const int error : {extents_.reserve(3), slabs_.reserve(1)}) {
    if (error != 0) {
      return {.code = errc::out_of_memory, .native = error, .text = "no host memory"};
    }
  }
  return {};
}

extent_place extent_heap::fit(std::uint32_t index, const extent_shape& shape) const noexcept {
  for (; index != 0; index = heaps_[extents_[index].heap].members.next(extents_, index)) {
    const extent& e = extents_[index];
    const std::uint64_t page = align_up(e.page, shape.alignment);
    if (page + shape.pages <= e.page + e.pages) {
      return {index, page};
    }
  }
  return {};
}

extent_place extent_heap::find(stream_index heap, const extent_shape& shape) const noexcept {
  return fit(heaps_[heap].members.lower_bound(extents_, {shape.pages, 0}), shape);
}

extent_place extent_heap::find_next(std::uint32_t after, const extent_shape& shape) const noexcept {
  return fit(heaps_[extents_[after].heap].members.next(extents_, after), shape);
}

extent_place extent_heap::find_run(const extent_shape& shape) const noexcept {
  for (std::uint32_t s = 1; s < slabs_.bound(); ++s) {
    std::uint32_t begin = 0;
    for (std::uint32_t i = slabs_[s].first; i != 0; i = extents_[i].after) {
      const extent& e = extents_[i];
      if (e.state != extent_state::free) {
        begin = 0;
        continue;
      }
      begin = begin == 0 ? i : begin;
      const std::uint64_t page = align_up(extents_[begin].page, shape.alignment);
      if (page + shape.pages <= e.page + e.pages) {
        return {begin, page};
      }
    }
  }
  return {};
}

std::uint32_t extent_heap::take(const extent_place& from, std::uint32_t pages,
                                extent_state state) noexcept {
  extent& e = extents_[from.extent];
  const std::uint32_t older = e.older;  // parts that remain free keep this place in the queue
  uproot(from.extent);
  TIDEPOOL_ASSERT(1, from.page >= e.page && from.page + pages <= e.page + e.pages);
  const auto low = static_cast<std::uint32_t>(from.page - e.page);
  const std::uint32_t high = e.pages - low - pages;
  const auto cut = [&](std::uint32_t from_index, std::uint32_t at) noexcept {
    const std::uint32_t fresh = extents_.acquire();
    extent& left = extents_[from_index];
    extent& right = extents_[fresh];
    right.page = left.page + at;
    right.pages = left.pages - at;
    right.slab = left.slab;
    right.stamp = left.stamp;
    right.heap = left.heap;
    right.after_all_of = left.after_all_of;
    right.state = extent_state::free;
    left.pages = at;
    link_after(from_index, fresh);
    return fresh;
  };
  std::uint32_t used = from.extent;
  if (low != 0) {
    used = cut(from.extent, low);
    plant(from.extent, older);
  }
  if (high != 0) {
    plant(cut(used, pages), older);
  }
  extent& made = extents_[used];
  made.state = state;
  made.heap = no_stream;
  made.after_all_of = {};
  slabs_[made.slab].idle_since = 0;
  return used;
}

void extent_heap::append(std::uint32_t index, std::uint32_t pages) noexcept {
  const std::uint32_t next = extents_[index].after;
  const std::uint32_t taken = take({next, extents_[next].page}, pages, extent_state::block);
  absorb(index, taken);
}

void extent_heap::release(std::uint32_t index, stream_index heap, std::uint64_t stamp) noexcept {
  extent& e = extents_[index];
  TIDEPOOL_ASSERT(1, e.state == extent_state::block || e.state == extent_state::span);
  e.state = extent_state::free;
  e.block_bytes = 0;
  e.span = 0;
  e.heap = heap;
  e.stamp = stamp;
  absorb_neighbours(index);
  plant(index);
}

void extent_heap::release(std::uint32_t index, const stream_set& after_all_of) noexcept {
  extent& e = extents_[index];
  TIDEPOOL_ASSERT(1, e.state == extent_state::block || e.state == extent_state::span);
  e.state = extent_state::free;
  e.block_bytes = 0;
  e.span = 0;
  e.heap = several_streams;
  e.stamp = after_all_of.stamp;
  e.after_all_of = after_all_of;
  plant(index);
}

void extent_heap::move(std::uint32_t index, stream_index heap, std::uint64_t stamp) noexcept {
  uproot(index);
  extent& e = extents_[index];
  e.heap = heap;
  e.stamp = stamp;
  e.after_all_of = {};
  absorb_neighbours(index);
  plant(index);
}

void extent_heap::move_done(stream_index heap, std::uint64_t stamp) noexcept {
  while (heaps_[heap].oldest != 0 && extents_[heaps_[heap].oldest].stamp <= stamp) {
    move(heaps_[heap].oldest, no_stream, 0);
  }
}

// Pre: free, in no tree; `other` is a neighbour in no tree.
void extent_heap::absorb(std::uint32_t index, std::uint32_t other) noexcept {
  extent& e = extents_[index];
  const extent& o = extents_[other];
  slab_record& home = slabs_[e.slab];
  if (o.page < e.page) {
    e.page = o.page;
    e.before = o.before;
    (o.before == 0 ? home.first : extents_[o.before].after) = index;
  } else {
    e.after = o.after;
    (o.after == 0 ? home.last : extents_[o.after].before) = index;
  }
  e.pages += o.pages;
  e.stamp = std::max(e.stamp, o.stamp);
  extents_.release(other);
}

void extent_heap::absorb_neighbours(std::uint32_t index) noexcept {
  const extent& e = extents_[index];
  for (const std::uint32_t other : {e.before, e.after}) {
    if (other != 0 && extents_[other].state == extent_state::free &&
        extents_[other].heap == e.heap && e.heap != several_streams) {
      uproot(other);
      absorb(index, other);
    }
  }
}

void extent_heap::link_after(std::uint32_t index, std::uint32_t fresh) noexcept {
  extent& e = extents_[index];
  extent& f = extents_[fresh];
  f.before = index;
  f.after = e.after;
  (e.after == 0 ? slabs_[e.slab].last : extents_[e.after].before) = fresh;
  e.after = fresh;
}

// Finds the place in the queue by stamp. That is the new end, except for extents that move here
// from another heap.
void extent_heap::plant(std::uint32_t index) noexcept {
  std::uint32_t older = heaps_[extents_[index].heap].newest;
  while (older != 0 && extents_[older].stamp > extents_[index].stamp) {
    older = extents_[older].older;
  }
  plant(index, older);
}

// Pre: the place by stamp is right behind `older`; 0 means the old end.
void extent_heap::plant(std::uint32_t index, std::uint32_t older) noexcept {
  extent& e = extents_[index];
  free_heap& heap = heaps_[e.heap];
  heap.members.insert(extents_, index);
  heap.pages += e.pages;
  e.older = older;
  e.newer = older == 0 ? heap.oldest : extents_[older].newer;
  (older == 0 ? heap.oldest : extents_[older].newer) = index;
  (e.newer == 0 ? heap.newest : extents_[e.newer].older) = index;
}

void extent_heap::uproot(std::uint32_t index) noexcept {
  extent& e = extents_[index];
  free_heap& heap = heaps_[e.heap];
  heap.members.erase(extents_, index);
  heap.pages -= e.pages;
  (e.older == 0 ? heap.oldest : extents_[e.older].newer) = e.newer;
  (e.newer == 0 ? heap.newest : extents_[e.newer].older) = e.older;
  e.older = 0;
  e.newer = 0;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
