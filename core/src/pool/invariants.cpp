// SPDX-License-Identifier: Apache-2.0
//
// Walks the pool's structures and names the first broken invariant, for tests and debugging. The
// answer is exact only while no other thread works on the pool.
#include "debug/layer.hpp"
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"

#include <algorithm>
#include <exception>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

/// One walk. Each step adds up figures that later steps compare.
class walk {
 public:
  explicit walk(pool_core& core) : core_(core), seen_(core.directory.slots.made()) {}

  void check_caches() noexcept;
  void check_ready_lists() noexcept;
  void check_quarantine() noexcept;
  void check_slots() noexcept;
  void check_limits() noexcept;
  /// The first broken invariant in words; null: every invariant holds.
  [[nodiscard]] const char* broken() const noexcept { return broken_; }
  void require(bool holds, const char* invariant) noexcept {
    if (!holds && broken_ == nullptr) {
      broken_ = invariant;
    }
  }

 private:
  [[nodiscard]] bool is_first_sight(const record& r) noexcept {
    return seen_[core_.directory.slots.index_of(r)]++ == 0;
  }
  void check_ready(const lane& where, unsigned size_class, const record& r) noexcept;
  void check_address(const record& r, bool bound, bool adopted) noexcept;
  void check_live(const record& r, std::uint64_t header, bool bound) noexcept;

  pool_core& core_;
  const char* broken_ = nullptr;
  std::vector<std::uint8_t> seen_;  // number of places in which each bound, free slot was found
  std::int64_t loose_ = 0;
  std::size_t keyed_ = 0;
  std::size_t entered_ = 0;  // in the index of addresses
};

void walk::check_ready(const lane& where, unsigned size_class, const record& r) noexcept {
  const std::uint64_t header = r.header.load(std::memory_order_relaxed);
  require(is_free(header) || core_.directory.slots.is_retired(r, header), "a ready slot is free");
  require(r.size_class.load(std::memory_order_relaxed) == size_class &&
              r.lane.load(std::memory_order_relaxed) == where.number,
          "a ready slot is kept under its own class and lane");
  require(r.data.load(std::memory_order_relaxed) != nullptr &&
              (size_class > last_small_class ||
               r.capacity.load(std::memory_order_relaxed) >= size_of_class(size_class)),
          "a ready slot has a block of its class");
  require(is_first_sight(r), "a ready slot is in one place only");
}

void walk::check_caches() noexcept {
  cache_list::holder all(core_.caches.list);
  all.close();
  std::size_t capacity = 0;
  all.for_each([&](front_cache& cache) {
    std::size_t small = 0;
    std::size_t large = 0;
    core_.lanes.for_each(
        [&](const lane& where) {
          cache.lane(where.number).for_each_used([&](unsigned size_class, magazine& m) {
            require(m.depth() <= m.limit && m.limit <= magazine_slots, "depth <= limit <= slots");
            (size_class > last_small_class ? large : small) += m.limit * size_of_class(size_class);
            for (unsigned depth = 1; depth <= m.depth(); ++depth) {
              check_ready(where, size_class, *m.at(depth));
            }
          });
        },
        cache.lanes);
    require(small == cache.small_capacity && large == cache.large_capacity,
            "a thread's capacity == sum of limit * size");
    capacity += small + large;
  });
  require(capacity == core_.caches.capacity(), "the pool's front capacity == sum of the threads'");
}

void walk::check_ready_lists() noexcept {
  core_.lanes.for_each([&](lane& where) {
    for (unsigned c = first_size_class; c < first_size_class + size_class_count; ++c) {
      require(where.ready_of(c).check([&](const record& r) { check_ready(where, c, r); }),
              "a ready list's count and bytes == sum over its records");
    }
    for (record* r = where.held; r != nullptr; r = next_of(*r)) {
      check_ready(where, r->size_class.load(std::memory_order_relaxed), *r);
    }
  });
}

void walk::check_quarantine() noexcept {
  if (core_.debug == nullptr) {
    return;
  }
  core_.debug->for_each_held([&](const record& r) {
    require(!core_.directory.slots.is_taken(r, r.header.load(std::memory_order_relaxed)),
            "a slot in quarantine is free");
    require(is_first_sight(r), "a slot in quarantine is in one place only");
  });
}

void walk::check_slots() noexcept {
  const slot_table& slots = core_.directory.slots;
  const pointer_index& pointers = core_.directory.pointers;
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    const record& r = slots.by_index(i);
    const std::uint64_t header = r.header.load(std::memory_order_acquire);
    const bool bound = r.size_class.load(std::memory_order_relaxed) != 0;
    const bool live = slots.is_taken(r, header);
    require(!live || seen_[i] == 0, "a live slot is in no list");
    require(!bound || live || seen_[i] != 0, "a bound slot is live or in a list");
    loose_ += live && !bound ? 1 : 0;
    const bool adopted = live && any(flags_of(header) & tensor_flags::adopted) &&
                         r.data.load(std::memory_order_relaxed) != nullptr;
    check_address(r, bound, adopted);
    if (live) {
      check_live(r, header, bound);
    }
  }
  require(loose_ == core_.directory.loose(),
          "tensors without a block == live slots without a block");
  require(keyed_ == core_.directory.keys.size(), "keys == tensors that have one");
  require(!pointers.is_kept() || entered_ == pointers.size(),
          "addresses in the index == blocks and adopted memory");
}

void walk::check_address(const record& r, bool bound, bool adopted) noexcept {
  const slot_table& slots = core_.directory.slots;
  const pointer_index& pointers = core_.directory.pointers;
  if (!pointers.is_kept() || (!bound && !adopted)) {
    return;
  }
  const void* const data = r.data.load(std::memory_order_relaxed);
  const std::optional<std::uint32_t> known = pointers.entry_of(data);
  const bool is_own = known == slots.index_of(r);
  // If several tensors adopted the same memory, the index has one of them.
  require(known && (is_own || (adopted && slots.by_index(*known).data.load(
                                              std::memory_order_relaxed) == data)),
          "the index of addresses knows every block and what is adopted");
  entered_ += is_own ? 1 : 0;
}

void walk::check_live(const record& r, std::uint64_t header, bool bound) noexcept {
  const slot_table& slots = core_.directory.slots;
  require(!bound ||
              r.bytes.load(std::memory_order_relaxed) <= r.capacity.load(std::memory_order_relaxed),
          "a tensor's bytes <= its block's");
  const cold_record& cold = slots.cold(r);
  const std::uint64_t holds = cold.holds.load(std::memory_order_relaxed);
  require(std::uint64_t{pins_of(holds)} + parts_of(holds) <= references_of(header),
          "a tensor's pins and slices <= its references");
  if (any(flags_of(header) & tensor_flags::keyed)) {
    ++keyed_;
    require(core_.directory.keys.find(cold.key.load(std::memory_order_relaxed)) ==
                slots.index_of(r),
            "a key leads to its tensor");
  }
  if (any(flags_of(header) & tensor_flags::slice)) {
    const std::uint64_t parent = cold.parent.load(std::memory_order_relaxed);
    const record& whole = slots.at(parent);
    require(slots.is_live(whole, whole.header.load(std::memory_order_acquire), parent),
            "a slice's parent is alive");
  }
}

void walk::check_limits() noexcept {
  std::size_t claimed = 0;
  for (const std::unique_ptr<device_entry>& entry : core_.lanes.devices()) {
    require(entry->reserved.claimed() == entry->source->memory(entry->where).reserved_bytes,
            "claimed == the backend's reserved bytes");
    claimed += entry->reserved.claimed();
    if (const char* const theirs = entry->source->verify()) {
      require(false, theirs);
    }
  }
  require(claimed == core_.lanes.reserved.claimed(), "the pool's claimed == sum of the devices'");
}

}  // namespace

const char* pool_core::verify() noexcept {
  const operation guard(*this);
  const std::size_t damages = check_memory();
  try {
    walk all(*this);
    all.require(damages == 0, "the bytes around tensors are as debug modes filled them");
    all.check_caches();
    all.check_ready_lists();
    all.check_quarantine();
    all.check_slots();
    all.check_limits();
    if (const char* const theirs = verify_entries(*this)) {
      all.require(false, theirs);
    }
    return all.broken();
  } catch (const std::exception&) {
    return "no memory to check invariants";
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
