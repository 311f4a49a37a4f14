// SPDX-License-Identifier: Apache-2.0
//
// The warm path: pop and push on the calling thread's magazine. Two functions, no lock, no atomic
// read-modify-write, no call; everything else is behind a tail call to a slow path. What they cost is
// checked by tests: instructions under callgrind, and no locked instruction in the disassembly.
#include <tidepool/assert.hpp>
#include <tidepool/pool.hpp>

#include "pool_core.hpp"
#include "thread_caches.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

[[gnu::noinline, gnu::cold]] raw_tensor allocate_plain_slow(pool_core* core, std::size_t bytes,
                                                            std::uint32_t device_bits,
                                                            std::uint64_t tag,
                                                            front_cache* entered) noexcept {
  entered->leave();
  front_cache* const cache = find_this_thread(*core);
  if (const auto sample = core->take_sample(cache); sample != pool_core::sample::none) {
    const std::uint64_t begin = cycle_clock::now();
    const raw_tensor made = allocate_plain(core, bytes, device_bits, tag);
    if (sample == pool_core::sample::time) {
      core->sampler.allocate.warm.add(core->sampler.elapsed(begin));
    } else {
      core->arm_sample(*cache, 1);
    }
    return made;
  }
  const bool timed = core->take_slow_sample(cache);
  const std::uint64_t begin = timed ? cycle_clock::now() : 0;
  const raw_tensor made = core->allocate({.bytes = bytes,
                                          .where = device::from_bits(device_bits),
                                          .name = name_of(tag),
                                          .category = category_of(tag)});
  if (timed) {
    core->sampler.allocate.slow.add(core->sampler.elapsed(begin));
  }
  return made;
}

[[gnu::noinline, gnu::cold]] errc deallocate_slow(pool_core* core, tensor_id id,
                                                  front_cache* entered) noexcept {
  entered->leave();
  front_cache* const cache = find_this_thread(*core);
  if (const auto sample = core->take_sample(cache); sample != pool_core::sample::none) {
    const std::uint64_t begin = cycle_clock::now();
    const errc code = deallocate_id(core, id);
    if (sample == pool_core::sample::time) {
      core->sampler.free.warm.add(core->sampler.elapsed(begin));
    } else {
      core->arm_sample(*cache, 1);
    }
    return code;
  }
  const bool timed = core->take_slow_sample(cache);
  const std::uint64_t begin = timed ? cycle_clock::now() : 0;
  const errc code = core->deallocate(id, {});
  if (timed) {
    core->sampler.free.slow.add(core->sampler.elapsed(begin));
  }
  return code;
}

// The pop is done, its count carried: keep counting and ask for a sample.
[[gnu::noinline, gnu::cold]] raw_tensor after_carry(pool_core* core, front_cache* cache,
                                                    magazine* from, raw_tensor made) noexcept {
  from->keep_counting();
  cache->leave();
  // Alternately the next operation and the one after: both kinds get their share in any pattern.
  core->arm_sample(*cache, 1 + (cache->slow_count++ & 1));
  return made;
}

}  // namespace

raw_tensor allocate_plain(pool_core* core, std::size_t bytes, std::uint32_t device_bits,
                          std::uint64_t tag) noexcept {
  front_cache* const cache = this_thread_caches.way[core->way];
  // `bytes` of 0 or beyond any block have classes too, whose magazines stay empty.
  magazine& ready = cache->at(front_cache::offset_of(0, size_class_of(bytes)));
  if (!cache->enter(core) || device_bits != core->lane0_bits) [[unlikely]] {
    return allocate_plain_slow(core, bytes, device_bits, tag, cache);
  }
  const unsigned depth = ready.depth();
  if (depth == 0) [[unlikely]] {
    return allocate_plain_slow(core, bytes, device_bits, tag, cache);
  }
  record& slot = *ready.slots[depth - 1];
  const std::uint64_t header = slot.header.load(std::memory_order_relaxed);
  // A header that is not free: two threads freed one tensor at once, or the slot is retired.
  if (!is_free(header) || slot.capacity.load(std::memory_order_relaxed) < bytes ||
      static_cast<std::uint32_t>(tag) > core->names.last()) [[unlikely]] {
    return allocate_plain_slow(core, bytes, device_bits, tag, cache);
  }
  const std::uint64_t id = header & ~free_bit;
  slot.bytes.store(bytes, std::memory_order_release);
  slot.tag.store(tag, std::memory_order_release);
  slot.header.store(id, std::memory_order_release);
  ready.requested += bytes;
  const raw_tensor made{slot.data.load(std::memory_order_relaxed), tensor_id::from_value(id)};
  if (__builtin_add_overflow(ready.word, pop_step, &ready.word)) [[unlikely]] {
    return after_carry(core, cache, &ready, made);
  }
  cache->leave();
  return made;
}

errc deallocate_id(pool_core* core, tensor_id id) noexcept {
  front_cache* const cache = this_thread_caches.way[core->way];
  if (!cache->enter(core)) [[unlikely]] {
    return deallocate_slow(core, id, cache);
  }
  record& slot = core->slots.at(id.value());
  // One compare: this pool's, alive, this generation, one reference, nothing special.
  if (slot.header.load(std::memory_order_acquire) != id.value()) [[unlikely]] {
    return deallocate_slow(core, id, cache);
  }
  magazine& home = cache->at(slot.magazine.load(std::memory_order_relaxed));
  const unsigned depth = home.depth();
  if (depth >= home.limit) [[unlikely]] {
    return deallocate_slow(core, id, cache);
  }
  if constexpr (TIDEPOOL_ASSERT_LEVEL >= 1) {
    // Checked builds find racing double frees here, others at the next pop.
    std::uint64_t expected = id.value();
    if (!slot.header.compare_exchange_strong(expected, id.value() + free_step,
                                             std::memory_order_acq_rel)) {
      return deallocate_slow(core, id, cache);
    }
  } else {
    slot.header.store(id.value() + free_step, std::memory_order_release);
  }
  home.slots[depth] = &slot;
  home.word += push_step;
  home.requested -= slot.bytes.load(std::memory_order_relaxed);
  cache->leave();
  return errc::ok;
}

void deallocate(pool_core* core, tensor_id id) noexcept { (void)deallocate_id(core, id); }

void deallocate_on(pool_core* core, tensor_id id, const stream_ref& stream) noexcept {
  if (stream.is_none()) {
    (void)deallocate_id(core, id);
  } else {
    (void)core->deallocate(id, stream);
  }
}

void pool_core::arm_sample(front_cache& cache, std::uint32_t operations) noexcept {
  const std::lock_guard lock(registry_mutex_);
  if (cache.owner.load(std::memory_order_relaxed) != this || !front_open()) {
    return;
  }
  cache.sampling = operations;
  cache.gate.store(nullptr, std::memory_order_relaxed);
  cache.fenced_gate.store(nullptr, std::memory_order_relaxed);
}

pool_core::sample pool_core::take_sample(front_cache* cache) noexcept {
  if (cache == nullptr || cache->sampling == 0) {
    return sample::none;
  }
  const bool now = --cache->sampling == 0;
  cache->sampling = 0;
  const std::lock_guard lock(registry_mutex_);
  if (cache->owner.load(std::memory_order_relaxed) != this || !front_open()) {
    return sample::none;
  }
  open_gate(*cache);
  return now ? sample::time : sample::pass;
}

bool pool_core::take_slow_sample(front_cache* cache) noexcept {
  return cache != nullptr && cache->slow_count++ % slow_sample_period == 0;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
