// SPDX-License-Identifier: Apache-2.0
//
// Allocation and release of extents. Growth is in extent_grow.cpp, giving memory back in
// extent_purge.cpp, the checks in extent_check.cpp.
#include "extent_heap.hpp"

#include <tidepool/assert.hpp>

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

// So many half-backed extents are looked at by a request that may grow, before it claims new pages:
// this bounds its time.
constexpr unsigned most_looked_at = 16;
constexpr unsigned no_limit = ~0U;

}  // namespace

extent_heap::extent_heap(os_memory& os, claims& claims, const arena_options& options) noexcept
    : os_(os), claims_(claims), options_(options), extents_(os), arenas_(os) {}

extent_heap::~extent_heap() {
  for (std::uint32_t i = 1; i < arenas_.bound(); ++i) {
    arenas_[i].abandon(os_);
  }
}

result<std::uint32_t> extent_heap::allocate(const extent_request& request) noexcept {
  TIDEPOOL_ASSERT(1, request.pages != 0);
  // A split makes two extents and growth one, so from here on no step can lack a descriptor.
  if (const int error = extents_.reserve(3); error != 0) {
    return refused_by_system(error);
  }
  if (const place found = find_warm(request); found.extent != 0) {
    return take(found, request.pages, request.state);
  }
  if (const place found = find_backed(request, request.may_grow ? most_looked_at : no_limit);
      found.extent != 0) {
    return take(found, request.pages, request.state);
  }
  if (!request.may_grow) {
    return status{.code = errc::out_of_memory, .text = "not without taking more from the system"};
  }
  result<std::uint32_t> made = errc::over_budget;
  if (const place found = find_cold(request); found.extent != 0) {
    const extent& e = extents_[found.extent];
    const status why = claims_.claim(request.pages - count_backed(e, found.page, request.pages));
    if (why.ok()) {
      return take(found, request.pages, request.state);
    }
    made = why;
  } else {
    made = grow(request);
  }
  if (!made) {
    // No new pages can be had, so the search for a backed place goes through all extents.
    if (const place found = find_backed(request, no_limit); found.extent != 0) {
      return take(found, request.pages, request.state);
    }
  }
  return made;
}

void extent_heap::release(std::uint32_t index, std::uint64_t epoch) noexcept {
  extent& e = extents_[index];
  TIDEPOOL_ASSERT(1, e.state == extent_state::block || e.state == extent_state::span);
  arena& home = arenas_[e.arena];
  e.state = extent_state::free;
  e.block_bytes = 0;
  e.span = 0;
  e.epoch = epoch;
  const auto absorb = [&](std::uint32_t other_index) noexcept {
    const extent& other = extents_[other_index];
    uproot(other_index);
    if (other.backed != 0) {
      dequeue(other_index);
      e.epoch = std::max(e.epoch, other.epoch);
    }
    e.page = std::min(e.page, other.page);
    e.pages += other.pages;
    e.backed += other.backed;
    extents_.release(other_index);
  };
  const std::uint32_t first = static_cast<std::uint32_t>(e.page - home.first_page());
  const std::uint32_t end = first + e.pages;
  if (first != 0) {
    const std::uint32_t before = home.at(first - 1);
    if (extents_[before].state == extent_state::free) {
      absorb(before);
    }
  }
  if (end != home.frontier()) {
    const std::uint32_t after = home.at(end);
    if (extents_[after].state == extent_state::free) {
      absorb(after);
    }
  }
  write_ends(index);
  plant(index);
  enqueue(index);
}

status extent_heap::extend(std::uint32_t index, std::uint32_t pages) noexcept {
  TIDEPOOL_ASSERT(1, extents_[index].state == extent_state::block);
  if (const int error = extents_.reserve(2); error != 0) {
    return refused_by_system(error);
  }
  const extent& e = extents_[index];
  const std::uint64_t page = e.page + e.pages;
  const std::uint32_t need = pages - e.pages;
  const std::uint32_t arena_index = e.arena;
  const arena& home = arenas_[arena_index];
  const std::uint32_t end = static_cast<std::uint32_t>(page - home.first_page());

  std::uint32_t after = end == home.frontier() ? 0 : home.at(end);
  const bool at_tail =
      after == 0 || (extents_[after].state == extent_state::free && tail_of(home) == after);
  if (after != 0 && extents_[after].state != extent_state::free) {
    return {.code = errc::out_of_memory, .text = "the memory that follows is in use"};
  }
  const std::uint32_t have = after == 0 ? 0 : extents_[after].pages;
  if (have < need && (!at_tail || need > home.page_count() - end)) {
    return {.code = errc::out_of_memory, .text = "the memory that follows is in use"};
  }
  const std::uint32_t backed =
      after == 0 ? 0 : count_backed(extents_[after], page, std::min(have, need));
  if (const status why = claims_.claim(need - backed); !why.ok()) {
    return why;
  }
  if (have < need) {
    const result<std::uint32_t> stretched = stretch(arena_index, after, end + need);
    if (!stretched) {
      claims_.unclaim(need - backed);
      return stretched.error();
    }
    after = *stretched;
  }
  const std::uint32_t taken = take({after, page}, need, extent_state::block);
  extents_[index].pages += need;
  extents_[index].backed += need;
  extents_.release(taken);
  write_ends(index);
  return {};
}

extent_heap::place extent_heap::find_warm(const extent_request& request) const noexcept {
  std::uint32_t index = warm_.lower_bound(extents_, {request.pages, 0});
  for (; index != 0; index = warm_.next(extents_, index)) {
    const extent& e = extents_[index];
    const std::uint64_t page = align_up(e.page, request.alignment);
    if (page + request.pages <= e.page + e.pages) {
      return {index, page};
    }
  }
  return {};
}

// Finds a place that is fully backed in an extent that is not, in at most `candidates` extents.
extent_heap::place extent_heap::find_backed(const extent_request& request,
                                            unsigned candidates) const noexcept {
  std::uint32_t index = cold_.lower_bound(extents_, {request.pages, 0});
  for (; index != 0 && candidates != 0; index = cold_.next(extents_, index), --candidates) {
    const extent& e = extents_[index];
    if (e.backed < request.pages) {
      continue;
    }
    const arena& home = arenas_[e.arena];
    page_range unsearched = range_in(home, e.page, e.pages);
    const std::uint32_t end = unsearched.first + unsearched.count;
    for (;;) {
      const page_range run = home.backed().first_run(unsearched);
      if (run.count == 0) {
        break;
      }
      const std::uint64_t page = align_up(home.first_page() + run.first, request.alignment);
      if (page + request.pages <= home.first_page() + run.first + run.count) {
        return {index, page};
      }
      unsearched = {run.first + run.count, end - run.first - run.count};
    }
  }
  return {};
}

extent_heap::place extent_heap::find_cold(const extent_request& request) const noexcept {
  std::uint32_t index = cold_.lower_bound(extents_, {request.pages, 0});
  for (; index != 0; index = cold_.next(extents_, index)) {
    const extent& e = extents_[index];
    const std::uint64_t page = align_up(e.page, request.alignment);
    if (page + request.pages <= e.page + e.pages) {
      return {index, page};
    }
  }
  return {};
}

// Cuts an extent in use out of a free one. The parts that remain free keep their age. Pre: the
// pages that lack memory are claimed, and two descriptors are reserved.
std::uint32_t extent_heap::take(const place& from, std::uint32_t pages,
                                extent_state state) noexcept {
  extent& e = extents_[from.extent];
  arena& home = arenas_[e.arena];
  const std::uint32_t low_pages = static_cast<std::uint32_t>(from.page - e.page);
  const std::uint32_t high_pages = e.pages - low_pages - pages;
  const std::uint32_t inside = count_backed(e, from.page, pages);
  const std::uint32_t low_backed = count_backed(e, e.page, low_pages);
  const std::uint32_t high_backed = e.backed - inside - low_backed;
  uproot(from.extent);
  if (inside != pages) {
    home.backed().set(range_in(home, from.page, pages));
    backed_pages_ += pages - inside;
  }
  const auto shape = [&](std::uint32_t index, std::uint64_t page, std::uint32_t page_count,
                         std::uint32_t backed) noexcept {
    extent& part = extents_[index];
    part.page = page;
    part.pages = page_count;
    part.backed = backed;
    part.arena = e.arena;
    part.epoch = e.epoch;
    write_ends(index);
  };
  const bool queued = e.backed != 0;
  std::uint32_t used = from.extent;
  if (low_pages != 0 || high_pages != 0) {
    used = extents_.acquire();
    if (low_pages != 0 && high_pages != 0) {
      const std::uint32_t high = extents_.acquire();
      extents_[high].state = extent_state::free;
      shape(high, from.page + pages, high_pages, high_backed);
      plant(high);
      if (high_backed != 0) {
        enqueue_before(high, from.extent);
      }
    }
    if (low_pages != 0) {
      shape(from.extent, e.page, low_pages, low_backed);
    } else {
      shape(from.extent, from.page + pages, high_pages, high_backed);
    }
    plant(from.extent);
  }
  if (queued && (used == from.extent || e.backed == 0)) {
    dequeue(from.extent);
  }
  shape(used, from.page, pages, pages);
  extents_[used].state = state;
  return used;
}

page_range extent_heap::range_in(const arena& home, std::uint64_t page,
                                 std::uint32_t pages) const noexcept {
  return {static_cast<std::uint32_t>(page - home.first_page()), pages};
}

std::uint32_t extent_heap::count_backed(const extent& e, std::uint64_t page,
                                        std::uint32_t pages) const noexcept {
  if (e.backed == e.pages) {
    return pages;
  }
  if (e.backed == 0) {
    return 0;
  }
  const arena& home = arenas_[e.arena];
  return home.backed().count(range_in(home, page, pages));
}

void extent_heap::write_ends(std::uint32_t index) noexcept {
  const extent& e = extents_[index];
  arena& home = arenas_[e.arena];
  const std::uint32_t first = static_cast<std::uint32_t>(e.page - home.first_page());
  home.at(first) = index;
  home.at(first + e.pages - 1) = index;
}

void extent_heap::plant(std::uint32_t index) noexcept {
  const extent& e = extents_[index];
  (e.backed == e.pages ? warm_ : cold_).insert(extents_, index);
}

void extent_heap::uproot(std::uint32_t index) noexcept {
  const extent& e = extents_[index];
  (e.backed == e.pages ? warm_ : cold_).erase(extents_, index);
}

// Finds the place in the queue by age. That is the new end, except for memory that a decaying span
// gives back.
void extent_heap::enqueue(std::uint32_t index) noexcept {
  extent& e = extents_[index];
  std::uint32_t older = newest_;
  while (older != 0 && extents_[older].epoch > e.epoch) {
    older = extents_[older].older;
  }
  e.older = older;
  e.newer = older == 0 ? oldest_ : extents_[older].newer;
  (older == 0 ? oldest_ : extents_[older].newer) = index;
  (e.newer == 0 ? newest_ : extents_[e.newer].older) = index;
}

void extent_heap::enqueue_before(std::uint32_t index, std::uint32_t newer) noexcept {
  extent& e = extents_[index];
  e.newer = newer;
  e.older = extents_[newer].older;
  extents_[newer].older = index;
  (e.older == 0 ? oldest_ : extents_[e.older].newer) = index;
}

void extent_heap::dequeue(std::uint32_t index) noexcept {
  extent& e = extents_[index];
  (e.older == 0 ? oldest_ : extents_[e.older].newer) = e.newer;
  (e.newer == 0 ? newest_ : extents_[e.newer].older) = e.older;
  e.older = 0;
  e.newer = 0;
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
