// SPDX-License-Identifier: Apache-2.0
//
// extent_heap: its invariants, walked.
#include "heap/extent_heap.hpp"

namespace tidepool {
inline namespace v0 {
namespace cuda {

const char* extent_heap::check() const noexcept {
  std::size_t extents = 0;
  std::size_t pages = 0;
  std::size_t free_pages = 0;
  for (std::uint32_t s = 1; s < slabs_.bound(); ++s) {
    if (slabs_[s].first == 0) {
      continue;
    }
    if (const char* const broken = check_slab(s); broken != nullptr) {
      return broken;
    }
    for (std::uint32_t i = slabs_[s].first; i != 0; i = extents_[i].after) {
      ++extents;
      pages += extents_[i].pages;
      free_pages += extents_[i].state == extent_state::free ? extents_[i].pages : 0;
    }
  }
  if (extents + (set_aside_ != 0 ? 1U : 0U) != extents_.used()) {
    return "extents: a descriptor in use is in no slab";
  }
  if (pages != pages_) {
    return "extents: slabs are not as long as was counted";
  }
  for (stream_index heap = 0; heap != heaps_.size(); ++heap) {
    if (const char* const broken = check_heap(heap); broken != nullptr) {
      return broken;
    }
    free_pages -= heaps_[heap].pages;
  }
  return free_pages == 0 ? nullptr : "extents: a free extent is in no heap";
}

const char* extent_heap::check_slab(std::uint32_t slab_index) const noexcept {
  const slab_record& home = slabs_[slab_index];
  std::uint64_t page = reinterpret_cast<std::uintptr_t>(home.memory.data) / page_bytes;
  const std::uint64_t end = page + home.memory.bytes / page_bytes;
  std::uint32_t before = 0;
  for (std::uint32_t i = home.first; i != 0; i = extents_[i].after) {
    const extent& e = extents_[i];
    if (i >= extents_.bound() || e.slab != slab_index || e.page != page || e.pages == 0 ||
        e.pages > end - page || e.before != before) {
      return "extents: a slab is not tiled";
    }
    if (e.state == extent_state::unused) {
      return "extents: pages belong to an unused descriptor";
    }
    if (e.state == extent_state::free && before != 0 &&
        extents_[before].state == extent_state::free && extents_[before].heap == e.heap &&
        e.heap != several_streams) {
      return "extents: two free extents of a heap are neighbours";
    }
    page += e.pages;
    before = i;
  }
  return page == end && home.last == before ? nullptr : "extents: a slab has another end";
}

const char* extent_heap::check_heap(stream_index heap_index) const noexcept {
  const free_heap& heap = heaps_[heap_index];
  if (!heap.members.check(extents_)) {
    return "extents: a tree of free extents is out of order";
  }
  std::size_t pages = 0;
  std::size_t members = 0;
  std::uint32_t older = 0;
  for (std::uint32_t i = heap.oldest; i != 0; i = extents_[i].newer) {
    const extent& e = extents_[i];
    if (e.state != extent_state::free || e.heap != heap_index || e.older != older ||
        (older != 0 && extents_[older].stamp > e.stamp)) {
      return "extents: a heap's queue is out of order";
    }
    if ((heap_index == several_streams) == e.after_all_of.empty()) {
      return "extents: an extent is in the wrong heap";
    }
    if (heap_index != several_streams && heap.members.lower_bound(extents_, e.key()) != i) {
      return "extents: a free extent is not in its heap's tree";
    }
    pages += e.pages;
    ++members;
    older = i;
  }
  return pages == heap.pages && members == heap.members.size() && older == heap.newest
             ? nullptr
             : "extents: a heap has lost an extent";
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
