// SPDX-License-Identifier: Apache-2.0
//
// extent_heap: the pages of some arenas, handed out as extents. Address-ordered best fit with
// splitting; neighbours that are free are always merged, whether backed or not, because what is
// contiguous can serve a larger request. Free extents are in one of two trees: `warm_` has those
// that are backed entirely (taking one costs no system call, no claim and no look at the bits),
// `cold_` the others. A queue by age serves trim and decay. Not thread-safe: the backend's mutex.
#pragma once

#include "arena.hpp"
#include "descriptors.hpp"
#include "extent.hpp"
#include "os_memory.hpp"
#include <tidepool/result.hpp>

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace cpu {

struct extent_request {
  std::uint32_t pages = 1;      ///< >= 1
  std::uint32_t alignment = 1;  ///< in pages, a power of two
  bool may_grow = true;         ///< may pages be claimed?
  extent_state state = extent_state::block;
};

class extent_heap {
 public:
  extent_heap(os_memory& os, claims& claims, const arena_options& options) noexcept;
  extent_heap(const extent_heap&) = delete;
  extent_heap& operator=(const extent_heap&) = delete;
  /// Gives everything back, whatever is in use, without unclaiming it.
  ~extent_heap();

  /// Reserves the first arena, so that it is known early whether there is address space.
  [[nodiscard]] int prepare() noexcept;

  /// An extent in use, all its pages backed and claimed.
  /// Errors: over_budget, out_of_memory (native: errno); then nothing has changed.
  [[nodiscard]] result<std::uint32_t> allocate(const extent_request& request) noexcept;
  /// Never fails, calls nobody. Pre: in use.
  void release(std::uint32_t index, std::uint64_t epoch) noexcept;
  /// Grows to `pages` pages where the following memory is free. Errors as allocate.
  [[nodiscard]] status extend(std::uint32_t index, std::uint32_t pages) noexcept;

  /// Gives back at most `pages` backed pages, those free the longest first. Answers how many.
  std::size_t purge(std::size_t pages) noexcept;
  /// Gives back what was freed in epoch `last` or before. Answers how many pages.
  std::size_t purge_older(std::uint64_t last) noexcept;
  /// Unmaps arenas that hold nothing, all but the first.
  void release_empty_arenas() noexcept;

  [[nodiscard]] extent& operator[](std::uint32_t index) noexcept { return extents_[index]; }
  [[nodiscard]] const extent& operator[](std::uint32_t index) const noexcept {
    return extents_[index];
  }
  [[nodiscard]] bool is_block(std::uint32_t index) const noexcept {
    return index != 0 && index < extents_.bound() && extents_[index].state == extent_state::block;
  }
  [[nodiscard]] std::uint32_t bound() const noexcept { return extents_.bound(); }

  /// Pages of the largest extent that needs no claim.
  [[nodiscard]] std::uint32_t longest_backed() const noexcept;
  [[nodiscard]] std::size_t address_space_bytes() const noexcept;
  [[nodiscard]] std::size_t backed_pages() const noexcept { return backed_pages_; }
  [[nodiscard]] bool is_bound() const noexcept { return bound_; }

  /// Null, or the first broken invariant.
  [[nodiscard]] const char* check() const noexcept;

 private:
  struct place {
    std::uint32_t extent = 0;  ///< 0: none
    std::uint64_t page = 0;
  };
  using tree = binned_tree<extent>;

  [[nodiscard]] place find_warm(const extent_request& request) const noexcept;
  [[nodiscard]] place find_backed(const extent_request& request,
                                  unsigned candidates) const noexcept;
  [[nodiscard]] place find_cold(const extent_request& request) const noexcept;
  [[nodiscard]] result<std::uint32_t> grow(const extent_request& request) noexcept;
  [[nodiscard]] result<std::uint32_t> grow_in(std::uint32_t arena_index,
                                              const extent_request& request) noexcept;
  [[nodiscard]] result<std::uint32_t> add_arena(std::size_t at_least) noexcept;
  [[nodiscard]] std::uint32_t tail_of(const arena& arena) const noexcept;
  [[nodiscard]] result<std::uint32_t> stretch(std::uint32_t arena_index, std::uint32_t tail,
                                              std::uint32_t frontier) noexcept;
  [[nodiscard]] std::uint32_t take(const place& from, std::uint32_t pages,
                                   extent_state state) noexcept;

  [[nodiscard]] page_range range_in(const arena& arena, std::uint64_t page,
                                    std::uint32_t pages) const noexcept;
  [[nodiscard]] std::uint32_t count_backed(const extent& e, std::uint64_t page,
                                           std::uint32_t pages) const noexcept;
  void write_ends(std::uint32_t index) noexcept;
  void plant(std::uint32_t index) noexcept;
  void uproot(std::uint32_t index) noexcept;
  void enqueue(std::uint32_t index) noexcept;
  void enqueue_before(std::uint32_t index, std::uint32_t newer) noexcept;
  void dequeue(std::uint32_t index) noexcept;
  [[nodiscard]] std::uint32_t purge_extent(std::uint32_t index, std::size_t pages) noexcept;

  [[nodiscard]] const char* check_extent(const arena& arena, std::uint32_t index) const noexcept;
  [[nodiscard]] const char* check_queue() const noexcept;

  os_memory& os_;
  claims& claims_;
  arena_options options_;
  descriptor_pool<extent> extents_;
  descriptor_pool<arena> arenas_;
  tree warm_;  ///< free, backed == pages
  tree cold_;  ///< free, backed < pages
  std::uint32_t oldest_ = 0;
  std::uint32_t newest_ = 0;
  std::size_t backed_pages_ = 0;
  bool bound_ = false;
};

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
