// SPDX-License-Identifier: Apache-2.0
//
// The warm path: pop and push on the calling thread's magazine. Two functions, no lock, no atomic
// read-modify-write, no call; everything else is behind a tail call to a slow path. What they cost
// is checked by tests: instructions under callgrind, and no locked instruction in the disassembly.
#include "pool/capture_check.hpp"
#include "pool/pool_core.hpp"
#include "pool/this_thread.hpp"
#include <tidepool/assert.hpp>
#include <tidepool/detail/allocate.hpp>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// The warm path found nothing. If a sample had closed the gate, this operation may be to be timed:
// `again`, the warm path once more, finds the gate open. Otherwise `slow` does the work.
template <class Again, class Slow>
[[nodiscard, gnu::always_inline]] inline auto after_miss(front_cache* cache, operation_kind what,
                                                         Again&& again, Slow&& slow) noexcept {
  if (cache == nullptr || !cache->open_after_sample()) [[likely]] {
    return slow();
  }
  const auto answer =
      cache->latency.is_wanted(what) ? cache->latency.sample<cycle_clock>(what, again) : again();
  // The pool may be gone, if this was the last tensor of one that closes meanwhile; the cache's
  // memory is the thread's.
  cache->close_for_sample();
  return answer;
}

// What a miss saw, for the request. Pre: the cache that the gate leads to is entered.
class miss {
 public:
  miss() = default;
  miss(gate_ref gate, const magazine& empty) noexcept : seen_(gate.cache()) {
    if (empty.top == nullptr) {
      magazine_.limit = empty.limit;
    }
  }
  /// cache: the calling thread's. A closed gate has led to the sentinel.
  [[nodiscard]] missed_magazine in(const front_cache* cache) const noexcept {
    return seen_ == cache ? magazine_ : missed_magazine{};
  }

 private:
  const front_cache* seen_ = nullptr;
  missed_magazine magazine_;
};

// Pre: the cache is left. `again` is what a sample times, so it must not choose.
template <class Again>
[[nodiscard, gnu::always_inline]] inline raw_tensor allocate_after(const miss& seen,
                                                                   pool_core* core,
                                                                   allocation_request request,
                                                                   Again&& again) noexcept {
  request.cache = find_this_thread(core->caches);
  request.missed = seen.in(request.cache);
  return after_miss(request.cache, operation_kind::allocate, again,
                    [&] { return core->allocate(request); });
}

[[gnu::noinline, gnu::cold]] raw_tensor allocate_plain_slow(pool_core* core, std::size_t bytes,
                                                            gate_ref gate) noexcept {
  const miss seen(gate, gate.cache()->lane0_small(size_class_of(bytes)));
  gate.leave();
  return allocate_after(seen, core, {.bytes = bytes, .where = device::from_bits(core->lane0_bits)},
                        [&] { return allocate_plain(core, bytes, core->lane0_bits); });
}

// Pre: the cache is left.
[[gnu::noinline, gnu::cold]] raw_tensor allocate_on_after(const miss& seen, pool_core* core,
                                                          allocation_request request) noexcept {
  const std::uint32_t device_bits = request.where.bits();
  if (request.stream.is_default()) {
    return allocate_after(seen, core, request,
                          [&] { return allocate_plain(core, request.bytes, device_bits); });
  }
  return allocate_after(seen, core, request, [&] {
    return allocate_on(core, request.bytes, device_bits, request.stream);
  });
}

[[gnu::noinline, gnu::cold]] raw_tensor allocate_on_slow(pool_core* core, std::size_t bytes,
                                                         std::uint32_t device_bits,
                                                         const stream_ref& stream) noexcept {
  gate_ref(core->gate).leave();
  return allocate_on_after(
      {}, core, {.bytes = bytes, .where = device::from_bits(device_bits), .stream = stream});
}

[[gnu::noinline, gnu::cold]] errc deallocate_slow(pool_core* core, tensor_id id,
                                                  gate_ref gate) noexcept {
  gate.leave();
  front_cache* const cache = find_this_thread(core->caches);
  return after_miss(
      cache, operation_kind::free, [&] { return deallocate_id(core, id); },
      [&] { return core->deallocate(id, {}, cache); });
}

// The pop is done and its count overflowed: keep counting and ask for samples.
[[gnu::noinline, gnu::cold]] raw_tensor after_carry(pool_core* core, gate_ref gate, magazine* from,
                                                    record* slot, std::uint64_t id) noexcept {
  const raw_tensor made{slot->data.load(std::memory_order_relaxed), tensor_id::from_value(id)};
  from->keep_counting();
  // Not asked of the gate: somebody may have closed it meanwhile, and waits until the owner leaves.
  front_cache* const cache = find_this_thread(core->caches);
  if (cache == nullptr) {
    gate.leave();
    return made;
  }
  cache->ask_after_carry(*from);
  gate.leave();
  cache->close_for_sample();
  return made;
}

// Turns the free top of a magazine into a tensor. Pre: the cache is entered, the slot fits.
[[gnu::always_inline]] inline raw_tensor pop(pool_core* core, std::size_t bytes, gate_ref gate,
                                             magazine& from, record& slot, std::uint64_t id,
                                             std::uint64_t tag = 0) noexcept {
  from.top = from.slots[std::size_t{from.depth()} - 1];
  slot.bytes.store(bytes, std::memory_order_release);
  slot.tag.store(tag, std::memory_order_release);
  slot.header.store(id, std::memory_order_release);
  from.requested += bytes;
  from.word += pop_step;
  if (from.is_carried()) [[unlikely]] {
    return after_carry(core, gate, &from, &slot, id);
  }
  const raw_tensor made{slot.data.load(std::memory_order_relaxed), tensor_id::from_value(id)};
  gate.leave();
  // Emits nothing: keeps `core` in its register to the end, which the slow paths want it in; else
  // it is saved into another one first, on every call.
  asm("" : : "r"(core));
  return made;
}

// No small block is ready. Blocks above 1 MiB have lengths of their own, so this checks that the
// top block of the bin is long enough. It is still inside the cache and takes no lock.
[[gnu::noinline]] raw_tensor allocate_missed(pool_core* core, std::size_t bytes,
                                             gate_ref gate) noexcept {
  if (bytes > largest_small_block) {
    front_cache& cache = *gate.cache();
    magazine& ready = cache.near_lane(0).magazine_of(size_class_of(bytes));
    record* const slot = ready.top;
    if (slot != nullptr && slot->usable_bytes >= bytes) {
      const std::uint64_t id = next_id(slot->header.load(std::memory_order_relaxed));
      if (static_cast<std::int64_t>(id) > 0) {
        return pop(core, bytes, gate, ready, *slot, id);
      }
    }
  }
  return allocate_plain_slow(core, bytes, gate);
}

// The magazine of a lane whose alignment is its device's own. Pre: the cache is entered.
[[gnu::always_inline]] inline magazine& ready_in_lane(std::size_t bytes, gate_ref gate,
                                                      const lane_key& key) noexcept {
  // Rounds up to the alignment, less one. 0 bytes and sizes that cannot be rounded have a class
  // too, whose magazine stays empty.
  const std::size_t last = (bytes - 1) | key.alignment_mask.load(std::memory_order_relaxed);
  const unsigned size_class = size_class_of(last + 1);
  return gate.cache()->small_at(key.magazines, size_class);
}

// No small block is ready in the lane, or its slot is not free. This is still inside the cache. It
// takes the device from the lane, because the key may be closed by now.
[[gnu::noinline, gnu::cold]] raw_tensor allocate_on_missed(pool_core* core, std::size_t bytes,
                                                           const stream_ref& stream,
                                                           const lane_key& key) noexcept {
  const auto n = static_cast<std::size_t>(&key - core->lanes.keys.at.data());
  const std::size_t last = (bytes - 1) | key.alignment_mask.load(std::memory_order_relaxed);
  const gate_ref gate(core->gate);
  if (last >= largest_small_block && last < largest_request) {
    magazine& ready = gate.cache()->near_lane(n).magazine_of(size_class_of(last + 1));
    record* const slot = ready.top;
    if (slot != nullptr && slot->usable_bytes > last) {
      const std::uint64_t id = next_id(slot->header.load(std::memory_order_relaxed));
      if (static_cast<std::int64_t>(id) > 0) {
        return pop(core, bytes, gate, ready, *slot, id, key.tag);
      }
    }
  }
  const miss seen(gate, ready_in_lane(bytes, gate, key));
  gate.leave();
  return allocate_on_after(
      seen, core, {.bytes = bytes, .where = core->lanes.at(n).device->where, .stream = stream});
}

// The whole pop, for callers that need no tail call.
[[gnu::always_inline]] inline raw_tensor pop_in_lane(pool_core* core, std::size_t bytes,
                                                     const stream_ref& stream, gate_ref gate,
                                                     const lane_key& key) noexcept {
  magazine& ready = ready_in_lane(bytes, gate, key);
  record* const slot = ready.top;
  if (slot == nullptr) [[unlikely]] {
    return allocate_on_missed(core, bytes, stream, key);
  }
  const std::uint64_t id = next_id(slot->header.load(std::memory_order_relaxed));
  if (static_cast<std::int64_t>(id) < 0) [[unlikely]] {
    return allocate_on_missed(core, bytes, stream, key);
  }
  return pop(core, bytes, gate, ready, *slot, id, key.tag);
}

// Allocates in the order of a default stream on a device other than that of lane 0, or in a pool
// whose lane 0 needs more alignment.
[[gnu::noinline]] raw_tensor allocate_elsewhere(pool_core* core, std::size_t bytes,
                                                std::uint32_t device_bits) noexcept {
  static constexpr stream_ref none{};
  const gate_ref gate(core->gate);
  gate.begin();
  const std::uint32_t n = core->lanes.keys.lane_of(device_bits);
  if (n == most_cached_lanes) {
    return allocate_on_slow(core, bytes, device_bits, none);
  }
  const lane_key& key = core->lanes.keys.at[n];
  return pop_in_lane(core, bytes, none, gate, key);
}

// Allocates a tensor with a name or a category. It makes a plain tensor and writes the tag then, as
// no thread reads the tag before. An observer would read it, so an observed pool takes the slow
// path.
template <class Plain>
[[nodiscard, gnu::always_inline]] inline raw_tensor tagged(pool_core* core,
                                                           const allocation_request& request,
                                                           Plain&& plain) noexcept {
  const std::uint64_t tag = make_tag(request.name, request.category, 0);
  if (request.name.value() > core->directory.names.last() || core->incidents.is_observed())
      [[unlikely]] {
    return core->allocate(request);
  }
  const raw_tensor made = plain();
  if (made.id) [[likely]] {
    // No other thread has the id yet.
    record& slot = core->directory.slots.at(made.id.value());
    slot.tag.store(slot.tag.load(std::memory_order_relaxed) | tag, std::memory_order_release);
  }
  return made;
}

// The stream has no number, or not the lane's number, so this tries the lane that the thread used
// last.
[[gnu::noinline]] raw_tensor allocate_by_memo(pool_core* core, std::size_t bytes,
                                              std::uint32_t device_bits,
                                              const stream_ref& stream) noexcept {
  const gate_ref gate(core->gate);
  const lane_memo& memo = gate.cache()->memo;
  if (memo.lane >= most_cached_lanes) {
    return allocate_on_slow(core, bytes, device_bits, stream);
  }
  const lane_key& key = core->lanes.keys.at[memo.lane];
  if (memo.handle != stream.handle || key.handle.load(std::memory_order_relaxed) != memo.expected ||
      key.device.load(std::memory_order_relaxed) != device_bits) {
    return allocate_on_slow(core, bytes, device_bits, stream);
  }
  return pop_in_lane(core, bytes, stream, gate, key);
}

}  // namespace

raw_tensor allocate_on(pool_core* core, std::size_t bytes, std::uint32_t device_bits,
                       const stream_ref& stream) noexcept {
  if (is_seen_capturing(*core, device_bits, stream) ||
      is_seen_recycled(*core, device_bits, stream)) {
    return allocate_on_slow(core, bytes, device_bits, stream);
  }
  const gate_ref gate(core->gate);
  gate.begin();
  // 0, not attached, becomes the largest number.
  const std::size_t n = std::size_t{stream.number} - 1;
  if (n >= most_cached_lanes - 1) [[unlikely]] {
    return allocate_by_memo(core, bytes, device_bits, stream);
  }
  const lane_key* key = &core->lanes.keys.at[n + 1];
  // Emits nothing: one register for the key, where compilers would make two of its address, and
  // save others for that.
  asm("" : "+r"(key));
  if (key->handle.load(std::memory_order_relaxed) != stream.handle ||
      key->device.load(std::memory_order_relaxed) != device_bits) [[unlikely]] {
    return allocate_by_memo(core, bytes, device_bits, stream);
  }
  // Repeats pop_in_lane, because a call in the middle would cost two more instructions.
  magazine& ready = ready_in_lane(bytes, gate, *key);
  record* const slot = ready.top;
  if (slot == nullptr) [[unlikely]] {
    return allocate_on_missed(core, bytes, stream, *key);
  }
  const std::uint64_t id = next_id(slot->header.load(std::memory_order_relaxed));
  if (static_cast<std::int64_t>(id) < 0) [[unlikely]] {
    return allocate_on_missed(core, bytes, stream, *key);
  }
  return pop(core, bytes, gate, ready, *slot, id, key->tag);
}

raw_tensor allocate_tagged_on(pool_core* core, std::size_t bytes, device where,
                              const allocation_options& options) noexcept {
  return tagged(core,
                {.bytes = bytes,
                 .where = where,
                 .stream = options.stream,
                 .name = options.name,
                 .category = options.category},
                [&] { return allocate_on(core, bytes, where.bits(), options.stream); });
}

raw_tensor allocate_plain(pool_core* core, std::size_t bytes, std::uint32_t device_bits) noexcept {
  if (device_bits != core->lane0_bits) [[unlikely]] {
    return allocate_elsewhere(core, bytes, device_bits);
  }
  const gate_ref gate(core->gate);
  front_cache& cache = gate.enter();
  // 0 bytes and sizes above 1 MiB have classes too, whose magazines here stay empty.
  magazine& ready = cache.lane0_small(size_class_of(bytes));
  record* const slot = ready.top;
  if (slot == nullptr) [[unlikely]] {
    return allocate_missed(core, bytes, gate);
  }
  const std::uint64_t id = next_id(slot->header.load(std::memory_order_relaxed));
  // The slot is not free: two threads freed one tensor at once, or the slot is retired.
  if (static_cast<std::int64_t>(id) < 0) [[unlikely]] {
    return allocate_plain_slow(core, bytes, gate);
  }
  return pop(core, bytes, gate, ready, *slot, id);
}

raw_tensor allocate_tagged(pool_core* core, std::size_t bytes, std::uint32_t device_bits,
                           std::uint64_t tag) noexcept {
  return tagged(core,
                {.bytes = bytes,
                 .where = device::from_bits(device_bits),
                 .name = name_of(tag),
                 .category = category_of(tag)},
                [&] { return allocate_plain(core, bytes, device_bits); });
}

errc deallocate_id(pool_core* core, tensor_id id) noexcept {
  const gate_ref gate(core->gate);
  front_cache& cache = gate.enter();
  record& slot = core->directory.slots.at(id.value());
  // Made from the id before it is compared: made after, compilers take the equal header, and the
  // next allocation waits for its load.
  std::uint64_t freed = freed_header(id.value());
  asm("" : "+r"(freed));
  // One compare: this pool's, alive, this generation, one reference, nothing special.
  if (slot.header.load(std::memory_order_acquire) != id.value()) [[unlikely]] {
    return deallocate_slow(core, id, gate);
  }
  magazine& ready = cache.at(slot.magazine.load(std::memory_order_relaxed));
  const std::uint16_t depth = ready.depth();
  if (depth >= ready.limit) [[unlikely]] {
    return deallocate_slow(core, id, gate);
  }
  if constexpr (TIDEPOOL_ASSERT_LEVEL >= 1) {
    // Checked builds find racing double frees here; other builds find them at the next pop.
    std::uint64_t expected = id.value();
    if (!slot.header.compare_exchange_strong(expected, freed, std::memory_order_acq_rel)) {
      return deallocate_slow(core, id, gate);
    }
  } else {
    slot.header.store(freed, std::memory_order_release);
  }
  ready.slots[depth] = ready.top;
  ready.top = &slot;
  ready.word += push_step;
  ready.requested -= slot.bytes.load(std::memory_order_relaxed);
  gate.leave();
  return errc::ok;
}

errc deallocate_on(pool_core* core, tensor_id id, const stream_ref& stream) noexcept {
  if (!stream.is_none()) {
    // A free in the order of the tensor's own lane is the same as one without a stream. A lane's
    // key never has the handle of the per-thread stream, which names another lane in each thread.
    const unsigned n = core->directory.slots.at(id.value()).lane.load(std::memory_order_relaxed);
    if (n >= most_cached_lanes || stream.kind == stream_kind::legacy ||
        core->lanes.keys.at[n].handle.load(std::memory_order_relaxed) != stream.handle) {
      return core->deallocate(id, stream);
    }
  }
  return deallocate_id(core, id);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
