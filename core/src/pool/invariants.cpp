// SPDX-License-Identifier: Apache-2.0
//
// Walks the pool's structures and names the first broken invariant. For tests and debugging. Exact
// only while no other thread works on the pool.
#include "debug/layer.hpp"
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"
#include "pool/recall.hpp"

#include <algorithm>
#include <exception>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Where each bound, free slot was seen.
class sightings {
 public:
  explicit sightings(std::size_t slots) : seen_(slots) {}
  [[nodiscard]] bool first(std::size_t index) { return seen_[index]++ == 0; }
  [[nodiscard]] bool seen(std::size_t index) const { return seen_[index] != 0; }

 private:
  std::vector<std::uint8_t> seen_;
};

}  // namespace

const char* pool_core::verify() noexcept {
  const operation guard(*this);
  const char* broken =
      check_memory() == 0 ? nullptr : "the bytes around tensors are as debug modes filled them";
  const auto require = [&](bool holds, const char* invariant) {
    if (!holds && broken == nullptr) {
      broken = invariant;
    }
  };
  try {
    sightings seen(directory.slots.made());
    const auto check_ready = [&](const lane& where, unsigned size_class, const record& r) {
      const std::uint64_t header = r.header.load(std::memory_order_relaxed);
      require(is_free(header) || directory.slots.is_retired(r, header), "a ready slot is free");
      require(r.size_class.load(std::memory_order_relaxed) == size_class &&
                  r.lane.load(std::memory_order_relaxed) == where.number,
              "a ready slot is kept under its own class and lane");
      require(r.data.load(std::memory_order_relaxed) != nullptr &&
                  (size_class > last_small_class ||
                   r.capacity.load(std::memory_order_relaxed) >= size_of_class(size_class)),
              "a ready slot has a block of its class");
      require(seen.first(directory.slots.index_of(r)), "a ready slot is in one place only");
    };
    const std::lock_guard lock(registry_mutex_);
    std::size_t capacity = 0;
    with_closed_gates([&](front_cache& cache) {
      std::size_t small = 0;
      std::size_t large = 0;
      for (std::size_t i = 0; i < std::min(cache.lanes, lanes.count()); ++i) {
        lane& where = lanes.at(i);
        cache.lane(i).for_each_used([&](unsigned size_class, magazine& m) {
          require(m.depth() <= m.limit && m.limit <= magazine_slots, "depth <= limit <= slots");
          (size_class > last_small_class ? large : small) += m.limit * size_of_class(size_class);
          for (unsigned d = 1; d <= m.depth(); ++d) {
            check_ready(where, size_class, *m.at(d));
          }
        });
      }
      require(small == cache.small_capacity && large == cache.large_capacity,
              "a thread's capacity == sum of limit * size");
      capacity += small + large;
    });
    require(capacity == front_capacity_.load(std::memory_order_relaxed),
            "the pool's front capacity == sum of the threads'");
    for (std::size_t i = 0; i < lanes.count(); ++i) {
      lane& where = lanes.at(i);
      for (unsigned c = first_size_class; c < first_size_class + size_class_count; ++c) {
        require(where.ready_of(c).check([&](const record& r) { check_ready(where, c, r); }),
                "a ready list's count and bytes == sum over its records");
      }
    }
    if (debug_ != nullptr) {
      debug_->for_each_held([&](const record& r) {
        require(!directory.slots.is_taken(r, r.header.load(std::memory_order_relaxed)),
                "a slot in quarantine is free");
        require(seen.first(directory.slots.index_of(r)),
                "a slot in quarantine is in one place only");
      });
    }
    std::int64_t loose = 0;
    std::size_t entered = 0;  // in the index of addresses
    std::size_t keyed = 0;
    const bool has_pointers = directory.pointers.is_kept();
    for (std::size_t i = 0; i < directory.slots.made(); ++i) {
      const record& r = directory.slots.by_index(i);
      const std::uint64_t header = r.header.load(std::memory_order_acquire);
      const bool bound = r.size_class.load(std::memory_order_relaxed) != 0;
      const bool live = directory.slots.is_taken(r, header);
      require(!live || !seen.seen(i), "a live slot is in no list");
      require(!bound || live || seen.seen(i), "a bound slot is live or in a list");
      loose += live && !bound ? 1 : 0;
      const bool adopted = live && any(flags_of(header) & tensor_flags::adopted) &&
                           r.data.load(std::memory_order_relaxed) != nullptr;
      if ((bound || adopted) && has_pointers) {
        const void* const data = r.data.load(std::memory_order_relaxed);
        const std::optional<std::uint32_t> known = directory.pointers.entry_of(data);
        // Of tensors that adopted the same memory it knows one.
        require(known && (known == i || (adopted && directory.slots.by_index(*known).data.load(
                                                        std::memory_order_relaxed) == data)),
                "the index of addresses knows every block and what is adopted");
        entered += known == i ? 1 : 0;
      }
      if (!live) {
        continue;
      }
      require(!bound || r.bytes.load(std::memory_order_relaxed) <=
                            r.capacity.load(std::memory_order_relaxed),
              "a tensor's bytes <= its block's");
      const cold_record& cold = directory.slots.cold(r);
      const std::uint64_t holds = cold.holds.load(std::memory_order_relaxed);
      require(std::uint64_t{pins_of(holds)} + parts_of(holds) <= references_of(header),
              "a tensor's pins and slices <= its references");
      if (any(flags_of(header) & tensor_flags::keyed)) {
        ++keyed;
        require(directory.keys.find(cold.key.load(std::memory_order_relaxed)) == i,
                "a key leads to its tensor");
      }
      if (any(flags_of(header) & tensor_flags::slice)) {
        const std::uint64_t parent = cold.parent.load(std::memory_order_relaxed);
        const record& whole = directory.slots.at(parent);
        require(
            directory.slots.is_live(whole, whole.header.load(std::memory_order_acquire), parent),
            "a slice's parent is alive");
      }
    }
    require(loose == directory.loose(), "tensors without a block == live slots without a block");
    require(keyed == directory.keys.size(), "keys == tensors that have one");
    require(!has_pointers || entered == directory.pointers.size(),
            "addresses in the index == blocks and adopted memory");
  } catch (const std::exception&) {
    return "no memory to check invariants";
  }
  std::size_t claimed = 0;
  for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
    require(entry->reserved.claimed() == entry->source->memory(entry->where).reserved_bytes,
            "claimed == the backend's reserved bytes");
    claimed += entry->reserved.claimed();
    if (const char* const theirs = entry->source->verify()) {
      require(false, theirs);
    }
  }
  require(claimed == lanes.reserved.claimed(), "the pool's claimed == sum of the devices'");
  if (const char* const theirs = verify_entries(*this)) {
    require(false, theirs);
  }
  return broken;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
