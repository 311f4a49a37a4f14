// SPDX-License-Identifier: Apache-2.0
//
// extent_heap: its invariants, walked.
#include "extent_heap.hpp"

namespace tidepool {
inline namespace v0 {
namespace cpu {

const char* extent_heap::check() const noexcept {
  if (!warm_.check(extents_) || !cold_.check(extents_)) {
    return "extents: a tree of free extents is out of order";
  }
  std::size_t extents = 0;
  std::size_t free_extents = 0;
  std::size_t backed = 0;
  for (std::uint32_t i = 1; i < arenas_.bound(); ++i) {
    const arena& home = arenas_[i];
    if (!home.is_open()) {
      continue;
    }
    for (std::uint32_t page = 0; page != home.frontier();) {
      const std::uint32_t index = home.at(page);
      if (index == 0 || index >= extents_.bound()) {
        return "extents: a page belongs to no extent";
      }
      const extent& e = extents_[index];
      if (e.arena != i || e.page != home.first_page() + page || e.pages == 0 ||
          e.pages > home.frontier() - page) {
        return "extents: an extent is not where the page table says";
      }
      if (const char* const broken = check_extent(home, index); broken != nullptr) {
        return broken;
      }
      ++extents;
      free_extents += e.state == extent_state::free ? 1U : 0U;
      backed += e.backed;
      page += e.pages;
    }
  }
  if (extents != extents_.used()) {
    return "extents: a descriptor in use has no pages";
  }
  if (free_extents != warm_.size() + cold_.size()) {
    return "extents: a free extent is in no tree";
  }
  if (backed != backed_pages_) {
    return "extents: backed pages are not what was counted";
  }
  return check_queue();
}

const char* extent_heap::check_extent(const arena& home, std::uint32_t index) const noexcept {
  const extent& e = extents_[index];
  const page_range range = range_in(home, e.page, e.pages);
  const std::uint32_t end = range.first + range.count;
  if (home.at(end - 1) != index) {
    return "extents: the last page of an extent names another";
  }
  if (home.backed().count(range) != e.backed) {
    return "extents: the bits of an extent are not its count of backed pages";
  }
  if (e.state != extent_state::free) {
    if (e.state == extent_state::unused) {
      return "extents: pages belong to an unused descriptor";
    }
    return e.backed == e.pages ? nullptr : "extents: an extent in use lacks backed pages";
  }
  if (end != home.frontier() && extents_[home.at(end)].state == extent_state::free) {
    return "extents: two free extents are neighbours";
  }
  const tree& members = e.backed == e.pages ? warm_ : cold_;
  return members.lower_bound(extents_, e.key()) == index
             ? nullptr
             : "extents: a free extent is in the wrong tree";
}

const char* extent_heap::check_queue() const noexcept {
  std::size_t backed = 0;
  std::uint32_t older = 0;
  for (std::uint32_t index = oldest_; index != 0; index = extents_[index].newer) {
    const extent& e = extents_[index];
    if (e.state != extent_state::free || e.backed == 0 || e.older != older) {
      return "extents: the queue by age is broken";
    }
    if (older != 0 && extents_[older].epoch > e.epoch) {
      return "extents: the queue by age is out of order";
    }
    backed += e.backed;
    older = index;
  }
  if (older != newest_) {
    return "extents: the queue by age has another end";
  }
  for (std::uint32_t index = 1; index < extents_.bound(); ++index) {
    const extent& e = extents_[index];
    if (e.state == extent_state::block || e.state == extent_state::span) {
      backed += e.backed;
    }
  }
  return backed == backed_pages_ ? nullptr : "extents: free backed memory is not in the queue";
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
