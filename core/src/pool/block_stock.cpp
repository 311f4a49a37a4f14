// SPDX-License-Identifier: Apache-2.0
//
// block_stock: binding, refilling, ready lists, and counts by lane.
#include "pool/block_stock.hpp"

#include "debug/layer.hpp"

#include <algorithm>
#include <array>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Returns the class of a block. A large block is in the class of its length. A small block is in
// the largest class all of whose requests it serves, which is its own if its length is exact.
[[nodiscard]] unsigned class_of_block(std::size_t bytes) noexcept {
  unsigned c = size_class_of(bytes);
  if (bytes > largest_small_block) {
    return c;
  }
  while (size_of_class(c) > bytes && c > first_size_class) {
    --c;
  }
  return c;
}

// Most blocks of a class that a ready list keeps unless more were pre-warmed.
[[nodiscard]] std::size_t ready_limit(unsigned size_class) noexcept {
  constexpr std::size_t bytes_of_a_list = std::size_t{2} << 20;
  const std::size_t bytes = size_of_class(size_class);
  return bytes > largest_small_block ? 0
                                     : std::clamp<std::size_t>(bytes_of_a_list / bytes, 4, 1024);
}

// Is the block allocated alone? Large blocks and blocks aligned beyond a page are; small blocks
// have the exact size of their class and come in batches.
[[nodiscard]] bool is_single(const block_demand& demand) noexcept {
  constexpr std::size_t page = 4096;
  return demand.size_class > last_small_class || demand.alignment > page;
}

}  // namespace

std::uint32_t block_stock::magazine_of(const lane& where, unsigned size_class) const noexcept {
  return where.number < most_cached_lanes && below_.lanes.is_cached(where)
             ? front_cache::offset_of(where.number, size_class)
             : front_cache::offset_of_none();
}

// Binds a block to a slot. False: there is no memory for the index of addresses, and the caller
// must unbind the slot.
bool block_stock::bind(lane& where, const block& held, record& slot) noexcept {
  const unsigned size_class = class_of_block(held.bytes);
  below_.directory.slots.cold(slot).cookie = held.cookie;
  slot.usable_bytes = held.bytes;
  slot.data.store(held.data, std::memory_order_release);
  slot.capacity.store(held.bytes, std::memory_order_release);
  slot.lane.store(where.number, std::memory_order_release);
  slot.size_class.store(static_cast<std::uint16_t>(size_class), std::memory_order_seq_cst);
  slot.magazine.store(magazine_of(where, size_class), std::memory_order_release);
  if (debug_ != nullptr) [[unlikely]] {
    debug_->on_bind(slot);
  }
  return below_.directory.pointers.enter_block(slot);
}

void block_stock::unbind(record& slot) noexcept {
  const void* const data = slot.data.load(std::memory_order_relaxed);
  slot.size_class.store(0, std::memory_order_seq_cst);
  below_.directory.pointers.forget_block(slot, data);
  below_.directory.slots.release(slot);
}

// Binds blocks to slots until one fails, and releases the other slots. Returns how many blocks it
// bound.
std::size_t block_stock::bind_all(lane& where, std::span<const block> held,
                                  std::span<record*> slots) noexcept {
  std::size_t count = 0;
  while (count < held.size() && bind(where, held[count], *slots[count])) {
    ++count;
  }
  for (record* const slot : slots.subspan(count)) {
    unbind(*slot);
  }
  return count;
}

backend::refill_result block_stock::refill(const block_demand& demand, std::span<record*> out,
                                           bool may_grow) noexcept {
  lane& where = *demand.where;
  device_entry& device = *where.device;
  std::array<block, largest_batch> blocks;
  const std::size_t wanted =
      below_.directory.slots.acquire(out.first(std::min(out.size(), blocks.size())));
  if (wanted == 0) {
    return {.count = 0, .why = no_slots(demand.bytes, device.where)};
  }
  const bool large = demand.size_class > last_small_class;
  const block_request request{.where = device.where,
                              .bytes = large ? demand.bytes : size_of_class(demand.size_class),
                              .alignment = demand.alignment,
                              .stream = where.stream(),
                              .may_grow = may_grow,
                              .long_lived = demand.long_lived,
                              .for_capture = where.is_arena};
  backend::refill_result made;
  if (!is_single(demand)) {
    made = device.source->refill(request, std::span(blocks).first(wanted));
  } else if (const result<block> one = device.source->allocate_large(request)) {
    blocks[made.count++] = *one;
  } else {
    made.why = one.error();
  }
  const std::size_t count = bind_all(where, std::span(blocks).first(made.count), out.first(wanted));
  if (count < made.count) {
    device.source->take_back(device.where, std::span(blocks).subspan(count, made.count - count),
                             where.stream());
    made.why = {.code = errc::out_of_memory, .text = "no memory for the pointer index"};
  }
  if (count == 0 && made.why.ok()) {
    made.why.code = errc::out_of_memory;
  }
  made.why.requested = demand.bytes;
  made.why.where = device.where;
  return {.count = count, .why = made.why};
}

record* block_stock::accept_popped(record& slot) noexcept {
  slot_table& slots = below_.directory.slots;
  const std::uint64_t header = slot.header.load(std::memory_order_acquire);
  if (is_free(header)) {
    return &slot;
  }
  if (!slots.is_retired(slot, header)) {
    (void)below_.incidents.report_misuse(misuse_kind::racing_free, tensor_id::from_value(header));
    return nullptr;
  }
  lane& where = below_.lanes.of(slot);
  const block held = slots.block_of(slot);
  unbind(slot);
  record* fresh = nullptr;
  if (slots.acquire(std::span(&fresh, 1)) == 1) {
    if (bind(where, held, *fresh)) {
      return fresh;
    }
    unbind(*fresh);
  }
  where.device->source->take_back(where.device->where, std::span(&held, 1), where.stream());
  return nullptr;
}

std::size_t block_stock::give_to_backend(lane& where, record* list) noexcept {
  slot_table& slots = below_.directory.slots;
  std::array<block, 64> batch;
  std::size_t bytes = 0;
  while (list != nullptr) {
    std::size_t n = 0;
    std::array<record*, batch.size()> taken;
    while (n < batch.size() && list != nullptr) {
      record& r = *list;
      list = next_of(r);
      const block held = slots.block_of(r);
      where.ready_bytes().fetch_sub(held.bytes, std::memory_order_relaxed);
      // Two threads freed the slot's tensor and the slot is in use again, so its block must stay.
      if (slots.is_taken(r, r.header.load(std::memory_order_acquire))) {
        below_.incidents.count_misuse(misuse_kind::racing_free);
        continue;
      }
      taken[n] = &r;
      batch[n++] = held;
      bytes += held.bytes;
    }
    for (std::size_t i = 0; i < n; ++i) {
      unbind(*taken[i]);
    }
    where.device->source->take_back(where.device->where, std::span(batch).first(n), where.stream());
  }
  return bytes;
}

void block_stock::give_back(lane& where, unsigned size_class,
                            std::span<record* const> slots) noexcept {
  std::size_t bytes = 0;
  for (const record* slot : slots) {
    bytes += slot->capacity.load(std::memory_order_relaxed);
  }
  ready_list& list = where.ready_of(size_class);
  // ready_bytes counts all of these blocks first; give_to_backend subtracts those that do not stay.
  const std::size_t ready = where.ready_bytes().fetch_add(bytes, std::memory_order_relaxed) + bytes;
  for (std::size_t refused = list.put(slots); refused != 0; --refused) {
    below_.incidents.count_misuse(misuse_kind::racing_free);
  }
  if (where.is_arena && !below_.operations.is_closed()) {
    return;  // replays of the graph use these addresses
  }
  std::size_t keep = ready > ready_bytes_ ? 0 : ready_limit(size_class);
  keep = std::max(keep, list.reserve_count());
  if (record* const above = list.take_above(keep)) {
    (void)give_to_backend(where, above);
  }
}

void block_stock::give_back(lane& where, record& slot) noexcept {
  record* const self = &slot;
  give_back(where, slot.size_class.load(std::memory_order_relaxed), std::span(&self, 1));
}

void block_stock::keep_centrally(lane& where, record& slot) noexcept {
  if (!below_.operations.is_closed()) {
    give_back(where, slot);
    return;
  }
  set_next(slot, nullptr);
  where.ready_bytes().fetch_add(slot.capacity.load(std::memory_order_relaxed),
                                std::memory_order_relaxed);
  (void)give_to_backend(where, &slot);
}

std::size_t block_stock::take_ready(const block_demand& demand, std::span<record*> out) noexcept {
  ready_list& list = demand.where->ready_of(demand.size_class);
  const std::size_t taken = list.take(out, demand.bytes, demand.alignment);
  std::size_t bytes = 0;
  for (const record* slot : out.first(taken)) {
    bytes += slot->capacity.load(std::memory_order_relaxed);
  }
  if (taken != 0) {
    demand.where->ready_bytes().fetch_sub(bytes, std::memory_order_relaxed);
  }
  return taken;
}

std::size_t block_stock::drain_ready(bool reserves_too) noexcept {
  std::size_t taken = 0;
  below_.lanes.for_each([&](lane& where) {
    if (!where.is_arena || below_.operations.is_closed()) {
      taken += drain_ready(where, reserves_too);
    }
  });
  return taken;
}

std::size_t block_stock::drain_ready(lane& where, bool reserves_too) noexcept {
  std::size_t taken = 0;
  for (ready_list& list : where.ready) {
    if (reserves_too) {
      list.clear_reserve();
    }
    if (record* const above = list.take_above(list.reserve_count())) {
      taken += give_to_backend(where, above);
    }
  }
  return taken;
}

void block_stock::count_made(lane& where, unsigned size_class, const made_count& one) noexcept {
  where.device->publish_live(one.requested);
  const std::lock_guard lock(where.mutex);
  where.counts_of(size_class) += one.counts();
}

void block_stock::uncount_made(lane& where, unsigned size_class, const made_count& one) noexcept {
  where.device->publish_live(std::uint64_t{0} - one.requested);
  const std::lock_guard lock(where.mutex);
  where.counts_of(size_class) -= one.counts();
}

void block_stock::count_ended(lane& where, unsigned size_class, std::uint64_t bytes) noexcept {
  where.device->publish_live(std::uint64_t{0} - bytes);
  const std::lock_guard lock(where.mutex);
  class_counts& sum = where.counts_of(size_class);
  ++sum.pushes;
  sum.requested -= bytes;
}

void block_stock::change_class(lane& where, record& slot, std::uint64_t bytes) noexcept {
  const unsigned old_class = slot.size_class.load(std::memory_order_relaxed);
  const unsigned new_class = class_of_block(slot.capacity.load(std::memory_order_relaxed));
  if (new_class == old_class) {
    return;
  }
  slot.size_class.store(static_cast<std::uint16_t>(new_class), std::memory_order_release);
  slot.magazine.store(magazine_of(where, new_class), std::memory_order_release);
  const std::lock_guard lock(where.mutex);
  class_counts& left = where.counts_of(old_class);
  ++left.pushes;
  left.requested -= bytes;
  where.counts_of(new_class) += made_count{bytes, block_source::ready}.counts();
}

void block_stock::move_to_lane(record& slot, lane& to) noexcept {
  const unsigned size_class = slot.size_class.load(std::memory_order_relaxed);
  const made_count one{slot.bytes.load(std::memory_order_relaxed), block_source::ready};
  lane& from = below_.lanes.of(slot);
  {
    const std::lock_guard lock(from.mutex);
    from.counts_of(size_class) -= one.counts();
  }
  {
    const std::lock_guard lock(to.mutex);
    to.counts_of(size_class) += one.counts();
  }
  slot.lane.store(to.number, std::memory_order_release);
  slot.magazine.store(magazine_of(to, size_class), std::memory_order_release);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
