// SPDX-License-Identifier: Apache-2.0
//
// Finding a free block for a request: the thread's magazine, the pool's ready list, the backend;
// the out-of-memory ladder is in climb.cpp. Every step leaves the pool as it was when it fails.
#include "pool/pool_core.hpp"

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// From here on a block is worth looking for in what is held already before the backend may grow.
constexpr std::size_t worth_searching = std::size_t{64} << 10;

[[nodiscard]] bool fits(const record& r, const block_demand& demand) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(r.data.load(std::memory_order_relaxed));
  return r.capacity.load(std::memory_order_relaxed) >= demand.bytes &&
         (address & (demand.alignment - 1)) == 0;
}

}  // namespace

// The newest fitting record of the thread's magazine, taken out. Counted as filled out: count_pop
// counts it in again as an allocation.
record* pool_core::pop_fitting(const block_demand& demand, front_cache& cache) noexcept {
  if (!lanes.is_cached(*demand.where)) {
    return nullptr;
  }
  record* found = nullptr;
  if (cache.enter()) {
    magazine& m = cache.lane(demand.where->number).magazine_of(demand.size_class);
    for (unsigned i = m.depth(); i > 0; --i) {
      if (fits(*m.at(i), demand)) {
        found = m.take(i);
        break;
      }
    }
  }
  cache.leave();
  return found;
}

// A popped record whose header is not free: either another thread freed the tensor too and somebody
// has it now (drop our copy), or its generations are used up (move the block to a new slot).
record* pool_core::screen(record& slot) noexcept {
  const std::uint64_t header = slot.header.load(std::memory_order_acquire);
  if (is_free(header)) {
    return &slot;
  }
  if (!directory.slots.is_retired(slot, header)) {
    (void)report_misuse(misuse_kind::racing_free, tensor_id::from_value(header));
    return nullptr;
  }
  lane& where = lanes.of(slot);
  const block held = directory.slots.block_of(slot);
  unbind(slot);
  record* fresh = nullptr;
  if (directory.slots.acquire(std::span(&fresh, 1)) == 1) {
    if (bind(where, held, *fresh)) {
      return fresh;
    }
    unbind(*fresh);
  }
  where.device->source->take_back(where.device->where, std::span(&held, 1), where.stream());
  return nullptr;
}

// Asks the backend for up to out.size() blocks and binds them. Post: out[0, count) are records, and
// count != 0 or `why` says why not.
backend::refill_result pool_core::refill(const block_demand& demand, std::span<record*> out,
                                         bool may_grow) noexcept {
  device_entry& device = *demand.where->device;
  std::array<block, largest_batch> blocks;
  const std::size_t wanted =
      directory.slots.acquire(out.first(std::min(out.size(), blocks.size())));
  if (wanted == 0) {
    return {.count = 0, .why = no_slots(demand.bytes, device.where)};
  }
  // A small block has its class's exact size; a large one, or one aligned beyond a page, is single.
  constexpr std::size_t page = 4096;
  const bool large = demand.size_class > last_small_class;
  const bool single = large || demand.alignment > page;
  block_request request{.where = device.where,
                        .bytes = large ? demand.bytes : size_of_class(demand.size_class),
                        .alignment = demand.alignment,
                        .stream = demand.where->stream(),
                        .may_grow = may_grow,
                        .long_lived = demand.long_lived,
                        .for_capture = demand.where->is_arena};
  backend::refill_result made;
  if (!single) {
    made = device.source->refill(request, std::span(blocks).first(wanted));
  } else if (const result<block> one = device.source->allocate_large(request)) {
    blocks[made.count++] = *one;
  } else {
    made.why = one.error();
  }
  std::size_t count = 0;
  while (count < made.count && bind(*demand.where, blocks[count], *out[count])) {
    ++count;
  }
  for (std::size_t i = count; i < wanted; ++i) {
    unbind(*out[i]);
  }
  if (count < made.count) {
    // Keep what is bound, return the rest.
    device.source->take_back(device.where, std::span(blocks).subspan(count, made.count - count),
                             demand.where->stream());
    made.why = {.code = errc::out_of_memory, .text = "no memory for the pointer index"};
  }
  if (count == 0 && made.why.ok()) {
    made.why.code = errc::out_of_memory;
  }
  made.why.requested = demand.bytes;
  made.why.where = device.where;
  return {.count = count, .why = made.why};
}

// Gives the thread's large free blocks to the backend, where they join their neighbours.
std::size_t pool_core::flush_large(lane& where, front_cache* cache) noexcept {
  if (cache == nullptr || !lanes.is_cached(where) || where.is_arena) {
    return 0;
  }
  record* flushed = nullptr;
  std::size_t count = 0;
  std::size_t bytes = 0;
  if (cache->enter()) {
    cache->lane(where.number).for_each_used([&](unsigned size_class, magazine& m) {
      if (size_of_class(size_class) <= worth_searching) {
        return;
      }
      for (; m.depth() != 0; ++count) {
        record* const taken = m.take(m.depth());
        set_next(*taken, flushed);
        flushed = taken;
        bytes += taken->fit;
      }
    });
  }
  cache->leave();
  if (flushed != nullptr) {
    where.device->ready_bytes.fetch_add(bytes, std::memory_order_relaxed);
    (void)give_to_backend(where, flushed);
  }
  return count;
}

obtained pool_core::obtain(const block_demand& demand, front_cache* cache) noexcept {
  if (cache != nullptr) {
    while (record* const popped = pop_fitting(demand, *cache)) {
      if (record* const usable = screen(*popped)) {
        return {.slot = usable, .from = block_source::front};
      }
    }
  }
  const bool large = demand.size_class > last_small_class;
  std::array<record*, largest_batch> batch;
  std::size_t wanted = 1;
  // While a thread climbs the ladder nobody takes more than needed.
  if (cache != nullptr && !large && !is_closed() &&
      climbing_.load(std::memory_order_relaxed) == 0) {
    grow_limit(*demand.where, demand.size_class, *cache);
    const std::size_t size = size_of_class(demand.size_class);
    wanted = std::clamp<std::size_t>(wanted_batch(demand, *cache), 1,
                                     std::max<std::size_t>(1, (std::size_t{512} << 10) / size));
  }
  for (;;) {
    ready_list& list = demand.where->ready_of(demand.size_class);
    const std::size_t taken =
        list.take(std::span(batch).first(wanted), demand.bytes, demand.alignment);
    if (taken == 0) {
      break;
    }
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < taken; ++i) {
      bytes += batch[i]->capacity.load(std::memory_order_relaxed);
    }
    demand.where->ready_bytes().fetch_sub(bytes, std::memory_order_relaxed);
    stow(*demand.where, std::span(batch).subspan(1, taken - 1), cache);
    if (record* const usable = screen(*batch[0])) {
      return {.slot = usable, .from = block_source::ready};
    }
  }
  const auto out = std::span(batch).first(wanted);
  backend::refill_result made;
  if (demand.bytes > worth_searching) {
    made = refill(demand, out, false);
    if (made.count == 0 && flush_large(*demand.where, cache) != 0) {
      made = refill(demand, out.first(1), false);
    }
  }
  if (made.count == 0) {
    made = refill(demand, out, true);
  }
  const errc code = made.why.code;
  if (made.count == 0 &&
      (code == errc::out_of_memory || code == errc::over_budget || code == errc::too_many)) {
    made = climb(demand, out, made.why);
  }
  if (made.count == 0) {
    return {.slot = nullptr, .from = block_source::backend, .why = made.why};
  }
  stow(*demand.where, out.subspan(1, made.count - 1), cache);
  return {.slot = batch[0], .from = block_source::backend};
}

// Half of what the thread may keep of this class.
std::size_t pool_core::wanted_batch(const block_demand& demand, front_cache& cache) noexcept {
  std::size_t half = 1;
  if (lanes.is_cached(*demand.where)) {
    if (cache.enter()) {
      half = cache.lane(demand.where->number).magazine_of(demand.size_class).limit / 2;
    }
    cache.leave();
  }
  return std::clamp<std::size_t>(half, 1, largest_batch);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
