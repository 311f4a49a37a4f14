// SPDX-License-Identifier: Apache-2.0
//
// extent_heap: giving memory back to the system, and what is there to give.
#include "extent_heap.hpp"
#include <tidepool/assert.hpp>

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace cpu {

// Gives back pages from the high end, because the next allocation looks at the low end first. If
// the system refuses, the pages stay backed and claimed, and a later call tries again.
std::uint32_t extent_heap::purge_extent(std::uint32_t index, std::size_t pages) noexcept {
  extent& e = extents_[index];
  TIDEPOOL_ASSERT(1, e.state == extent_state::free && e.backed != 0);
  const arena& home = arenas_[e.arena];
  const page_range all = range_in(home, e.page, e.pages);
  const std::uint32_t n = static_cast<std::uint32_t>(std::min<std::size_t>(pages, e.backed));
  const page_range range = home.backed().last_set(all, n);
  if (os_.discard(home.address(range.first), range.count * page_bytes) != 0) {
    return 0;
  }
  home.backed().clear(range);
  uproot(index);
  e.backed -= n;
  if (e.backed == 0) {
    dequeue(index);
  }
  plant(index);
  backed_pages_ -= n;
  claims_.unclaim(n);
  return n;
}

std::size_t extent_heap::purge(std::size_t pages) noexcept {
  std::size_t done = 0;
  for (std::uint32_t index = oldest_; index != 0 && done < pages;) {
    const std::uint32_t newer = extents_[index].newer;
    done += purge_extent(index, pages - done);
    index = newer;
  }
  return done;
}

std::size_t extent_heap::purge_older(std::uint64_t last) noexcept {
  std::size_t done = 0;
  for (std::uint32_t index = oldest_; index != 0 && extents_[index].epoch <= last;) {
    const std::uint32_t newer = extents_[index].newer;
    done += purge_extent(index, SIZE_MAX);
    index = newer;
  }
  return done;
}

void extent_heap::release_empty_arenas() noexcept {
  for (std::uint32_t i = 2; i < arenas_.bound(); ++i) {
    arena& home = arenas_[i];
    if (!home.is_open()) {
      continue;
    }
    const std::uint32_t only = tail_of(home);
    const bool is_empty =
        home.frontier() == 0 ||
        (only != 0 && extents_[only].pages == home.frontier() && extents_[only].backed == 0);
    if (is_empty && home.close(os_) == 0) {
      if (only != 0) {
        uproot(only);
        extents_.release(only);
      }
      arenas_.release(i);
    }
  }
}

std::uint32_t extent_heap::longest_backed() const noexcept {
  const std::uint32_t largest = warm_.last(extents_);
  std::uint32_t longest = largest == 0 ? 0 : extents_[largest].pages;
  std::uint32_t index = cold_.last(extents_);
  for (; index != 0 && extents_[index].pages > longest; index = cold_.previous(extents_, index)) {
    const extent& e = extents_[index];
    if (e.backed > longest) {
      const arena& home = arenas_[e.arena];
      longest = std::max(longest, home.backed().longest_run(range_in(home, e.page, e.pages)));
    }
  }
  return longest;
}

std::size_t extent_heap::address_space_bytes() const noexcept {
  std::size_t bytes = 0;
  for (std::uint32_t i = 1; i < arenas_.bound(); ++i) {
    bytes += arenas_[i].address_space_bytes();
  }
  return bytes;
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
