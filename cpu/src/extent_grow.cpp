// SPDX-License-Identifier: Apache-2.0
//
// extent_heap: more pages, from the frontier of an arena or from a new arena. In an arena nothing
// is free above the frontier and nothing was ever backed there.
#include "extent_heap.hpp"
#include <tidepool/assert.hpp>

namespace tidepool {
inline namespace v0 {
namespace cpu {

int extent_heap::prepare() noexcept {
  const result<std::uint32_t> made = add_arena(0);
  return made ? 0 : made.error().native;
}

result<std::uint32_t> extent_heap::grow(const extent_request& request) noexcept {
  for (std::uint32_t i = 1; i < arenas_.bound(); ++i) {
    if (!arenas_[i].is_open()) {
      continue;
    }
    result<std::uint32_t> grown = grow_in(i, request);
    if (grown || grown.error().code == errc::over_budget || grown.error().native != 0) {
      return grown;
    }
  }
  // Refuse now if the limit does, before addresses are reserved that could not be used.
  if (const status why = claims_.claim(request.pages); !why.ok()) {
    return why;
  }
  claims_.unclaim(request.pages);
  const std::size_t at_least = (std::size_t{request.pages} + (request.alignment - 1)) * page_bytes;
  const result<std::uint32_t> added = add_arena(at_least);
  if (!added) {
    return added.error();
  }
  return grow_in(*added, request);
}

// Answers out_of_memory without an errno if this arena is too short, so that another one is tried.
result<std::uint32_t> extent_heap::grow_in(std::uint32_t arena_index,
                                           const extent_request& request) noexcept {
  const arena& home = arenas_[arena_index];
  const std::uint32_t tail = tail_of(home);
  const std::uint64_t from = tail != 0 ? extents_[tail].page : home.first_page() + home.frontier();
  const std::uint64_t page = align_up(from, request.alignment);
  const std::uint64_t first = page - home.first_page();
  if (first + request.pages > home.page_count()) {
    return errc::out_of_memory;
  }
  const std::uint32_t frontier = static_cast<std::uint32_t>(first) + request.pages;
  const std::uint32_t inside = first < home.frontier()
                                   ? home.frontier() - static_cast<std::uint32_t>(first)
                                   : 0;  // pages of the request that the tail has
  const std::uint32_t missing =
      request.pages - (inside == 0 ? 0 : count_backed(extents_[tail], page, inside));
  if (const status why = claims_.claim(missing); !why.ok()) {
    return why;
  }
  const result<std::uint32_t> stretched = stretch(arena_index, tail, frontier);
  if (!stretched) {
    claims_.unclaim(missing);
    return stretched.error();
  }
  return take({*stretched, page}, request.pages, request.state);
}

result<std::uint32_t> extent_heap::add_arena(std::size_t at_least) noexcept {
  if (const int error = arenas_.reserve(1); error != 0) {
    return refused_by_system(error);
  }
  const std::uint32_t index = arenas_.acquire();
  arena_options options = options_;
  options.at_least = at_least;
  if (const int error = arenas_[index].open(os_, options); error != 0) {
    arenas_.release(index);
    return refused_by_system(error);
  }
  bound_ = arenas_[index].is_bound();
  return index;
}

// Answers the free extent that ends at the frontier, or 0.
std::uint32_t extent_heap::tail_of(const arena& home) const noexcept {
  if (home.frontier() == 0) {
    return 0;
  }
  const std::uint32_t index = home.at(home.frontier() - 1);
  return extents_[index].state == extent_state::free ? index : 0;
}

// Moves the frontier of an arena and makes its free tail, or a new free extent, reach to it.
result<std::uint32_t> extent_heap::stretch(std::uint32_t arena_index, std::uint32_t tail,
                                           std::uint32_t frontier) noexcept {
  arena& home = arenas_[arena_index];
  const std::uint32_t old = home.frontier();
  if (const int error = home.advance(os_, frontier); error != 0) {
    return refused_by_system(error);
  }
  if (tail != 0) {
    uproot(tail);
  } else {
    tail = extents_.acquire();
    extents_[tail].page = home.first_page() + old;
    extents_[tail].arena = arena_index;
    extents_[tail].state = extent_state::free;
  }
  extent& e = extents_[tail];
  e.pages = static_cast<std::uint32_t>(home.first_page() + frontier - e.page);
  write_ends(tail);
  plant(tail);
  return tail;
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
