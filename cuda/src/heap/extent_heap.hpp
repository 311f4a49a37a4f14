// SPDX-License-Identifier: Apache-2.0
//
// extent_heap: the slabs of one device cut into extents, and the free ones in heaps: one heap per
// stream with what was freed in its order, one (no_stream) with what everybody may use at once, one
// (several_streams) with what waits for several streams. Within a heap neighbours are merged and
// the best fit serves. stream_order knows how far streams have come; this class only moves memory
// from heap to heap when it is called to. Not thread-safe: device_memory's mutex. No function
// throws; functions that take memory back or move it cannot fail.
#pragma once

#include "heap/extent.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// A place for a request: in one extent, or from one extent through its neighbours.
struct extent_place {
  std::uint32_t extent = 0;  ///< 0: none
  std::uint64_t page = 0;

  [[nodiscard]] bool operator==(const extent_place&) const noexcept = default;
};

class extent_heap {
 public:
  /// Heaps for the streams [0, count) exist. Errors: out_of_memory.
  [[nodiscard]] status make_heaps(stream_index count) noexcept;
  /// Makes descriptors for one call of take, add_slab or append. Errors: out_of_memory.
  [[nodiscard]] status reserve() noexcept;

  /// Pre: reserve. Post: one free extent of no_stream.
  void add_slab(const slab& what) noexcept;
  /// Sets a descriptor aside for one call of lengthen, which other requests cannot take meanwhile.
  /// Errors: out_of_memory.
  [[nodiscard]] status set_aside() noexcept;
  void give_up_set_aside() noexcept;
  /// A slab is longer at its end. Pre: set_aside.
  void lengthen(std::uint32_t slab_index, const slab& what) noexcept;

  /// The best fit of a heap, not of several_streams.
  [[nodiscard]] extent_place find(stream_index heap, const extent_shape& shape) const noexcept;
  /// The next fit after one that did not serve. Pre: `after` is free in that heap.
  [[nodiscard]] extent_place find_next(std::uint32_t after,
                                       const extent_shape& shape) const noexcept;
  /// Free neighbours, whatever their heaps, that are long enough together. O(extents).
  [[nodiscard]] extent_place find_run(const extent_shape& shape) const noexcept;

  /// Cuts an extent in use out of a free one. Pre: reserve since the last take.
  [[nodiscard]] std::uint32_t take(const extent_place& from, std::uint32_t pages,
                                   extent_state state) noexcept;
  /// Makes an extent in use longer by what follows it. Pre: reserve; the extent after it is free
  /// and has so many pages.
  void append(std::uint32_t index, std::uint32_t pages) noexcept;
  /// How many free pages, for which nobody has to wait, follow the extent.
  [[nodiscard]] std::uint32_t free_after(std::uint32_t index) const noexcept;
  /// Nothing but those free pages follows the extent in its slab.
  [[nodiscard]] bool is_last(std::uint32_t index) const noexcept;
  /// Pre: in use.
  void release(std::uint32_t index, stream_index heap, std::uint64_t stamp) noexcept;
  void release(std::uint32_t index, const stream_set& after_all_of) noexcept;
  /// Pre: free.
  void move(std::uint32_t index, stream_index heap, std::uint64_t stamp) noexcept;
  /// Extents of the heap with stamps up to `stamp` become memory for everybody.
  void move_done(stream_index heap, std::uint64_t stamp) noexcept;

  [[nodiscard]] extent& operator[](std::uint32_t index) noexcept { return extents_[index]; }
  [[nodiscard]] const extent& operator[](std::uint32_t index) const noexcept {
    return extents_[index];
  }
  [[nodiscard]] const slab& slab_of(std::uint32_t slab_index) const noexcept {
    return slabs_[slab_index].memory;
  }
  [[nodiscard]] bool is_block(std::uint32_t index) const noexcept {
    return index != 0 && index < extents_.bound() && extents_[index].state == extent_state::block;
  }
  [[nodiscard]] bool is_free_in(std::uint32_t index, stream_index heap) const noexcept {
    return extents_[index].state == extent_state::free && extents_[index].heap == heap;
  }
  /// The oldest extent of a heap; the others by `newer`.
  [[nodiscard]] std::uint32_t oldest(stream_index heap) const noexcept {
    return heaps_[heap].oldest;
  }

  // Slabs of which all is free for everybody.
  /// Takes such slabs out of the heap until they have `pages` pages together; only slabs that have
  /// been idle since tick `last` or longer. Answers the first of a list of slab numbers, 0: none.
  [[nodiscard]] std::uint32_t take_idle(std::size_t pages, std::uint64_t last) noexcept;
  /// The next of that list.
  [[nodiscard]] std::uint32_t next_idle(std::uint32_t slab_index) const noexcept {
    return slabs_[slab_index].newer;
  }
  /// The slab was given back: forgets it.
  void drop_idle(std::uint32_t slab_index) noexcept;
  /// The slab could not be given back: puts it into the heap for everybody again.
  void keep_idle(std::uint32_t slab_index) noexcept;
  /// Notes which slabs are idle at this tick.
  void note_idle(std::uint64_t tick) noexcept;
  /// Calls f(slab) for all, for giving everything back at the end.
  template <class F>
  void for_each_slab(F f) noexcept {
    for (std::uint32_t i = 1; i < slabs_.bound(); ++i) {
      if (slabs_[i].first != 0) {
        f(slabs_[i].memory);
      }
    }
  }

  [[nodiscard]] std::size_t pages() const noexcept { return pages_; }
  /// In heaps of streams, where something may be outstanding.
  [[nodiscard]] std::size_t pages_of(stream_index heap) const noexcept {
    return heaps_[heap].pages;
  }
  [[nodiscard]] std::size_t longest_free() const noexcept;
  [[nodiscard]] std::size_t address_space_bytes() const noexcept { return address_space_bytes_; }

  /// Null, or the first broken invariant.
  [[nodiscard]] const char* check() const noexcept;

 private:
  using extent_pool = support::descriptor_pool<extent>;
  struct free_heap {
    support::binned_tree<extent_pool> members;
    std::uint32_t oldest = 0;
    std::uint32_t newest = 0;
    std::size_t pages = 0;
  };

  [[nodiscard]] extent_place fit(std::uint32_t index, const extent_shape& shape) const noexcept;
  void plant(std::uint32_t index) noexcept;
  void plant(std::uint32_t index, std::uint32_t older) noexcept;
  void uproot(std::uint32_t index) noexcept;
  void absorb_neighbours(std::uint32_t index) noexcept;
  void absorb(std::uint32_t index, std::uint32_t other) noexcept;
  void link_after(std::uint32_t index, std::uint32_t fresh) noexcept;
  [[nodiscard]] bool is_idle(const slab_record& home) const noexcept;
  [[nodiscard]] const char* check_slab(std::uint32_t slab_index) const noexcept;
  [[nodiscard]] const char* check_heap(stream_index heap) const noexcept;

  extent_pool extents_;
  support::descriptor_pool<slab_record> slabs_;
  std::vector<free_heap> heaps_;
  std::uint32_t set_aside_ = 0;
  std::size_t pages_ = 0;
  std::size_t address_space_bytes_ = 0;
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
