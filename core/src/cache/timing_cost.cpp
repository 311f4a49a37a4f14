// SPDX-License-Identifier: Apache-2.0
//
// timing_cost: a front cache of one record without a pool, with pops and pushes of the warm path's
// shape. They are sampled in the way of the warm path and timed in a run.
#include "cache/timing_cost.hpp"

#include "cache/front_cache.hpp"
#include "system/address_space.hpp"
#include "system/cycle_clock.hpp"

#include <algorithm>
#include <array>
#include <new>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

constexpr std::size_t block_bytes = 4096;
constexpr std::size_t lanes = 1;

constinit thread_local gate_entry gate_of_stand_in;

/// What a pool and its thread have. The warm path reads these at run time.
struct stand_in {
  std::ptrdiff_t gate = 0;
  std::uint32_t device_bits = 0;
  std::byte* base = nullptr;
  std::uint64_t mask = 0;
  front_cache* cache = nullptr;
  record slot{};
};

struct popped {
  void* data;
  std::uint64_t id;
};

// A compiler that knows the arguments would leave half of the work out.
template <class T>
[[nodiscard]] T hidden(T value) noexcept {
  asm volatile("" : "+r"(value));
  return value;
}

popped pop(stand_in* of, std::size_t bytes, std::uint32_t device_bits) noexcept;
bool push(stand_in* of, std::uint64_t id) noexcept;

[[gnu::noinline, gnu::cold]] popped pop_slowly(stand_in* of, std::size_t bytes,
                                               gate_ref gate) noexcept {
  gate.leave();
  if (!of->cache->open_after_sample()) {
    return {};
  }
  (void)of->cache->latency.is_wanted(operation_kind::allocate);
  return of->cache->latency.sample<cycle_clock>(operation_kind::allocate,
                                                [&] { return pop(of, bytes, of->device_bits); });
}

[[gnu::noinline, gnu::cold]] bool push_slowly(stand_in* of, std::uint64_t id,
                                              gate_ref gate) noexcept {
  gate.leave();
  if (!of->cache->open_after_sample()) {
    return false;
  }
  (void)of->cache->latency.is_wanted(operation_kind::free);
  return of->cache->latency.sample<cycle_clock>(operation_kind::free, [&] { return push(of, id); });
}

[[gnu::noinline, gnu::cold]] popped after_carry(magazine* from, gate_ref gate, void* data,
                                                std::uint64_t id) noexcept {
  from->keep_counting();
  gate.leave();
  return {data, id};
}

// The steps are those of allocate_plain and deallocate_id in pool/warm_path.cpp.
[[gnu::noinline]] popped pop(stand_in* of, std::size_t bytes, std::uint32_t device_bits) noexcept {
  if (device_bits != of->device_bits) [[unlikely]] {
    return {};
  }
  const gate_ref gate(of->gate);
  magazine& ready = gate.enter().lane0_small(size_class_of(bytes));
  record* const slot = ready.top;
  if (slot == nullptr) [[unlikely]] {
    return pop_slowly(of, bytes, gate);
  }
  const std::uint64_t id = next_id(slot->header.load(std::memory_order_relaxed));
  if (static_cast<std::int64_t>(id) < 0) [[unlikely]] {
    return pop_slowly(of, bytes, gate);
  }
  ready.top = ready.slots[std::size_t{ready.depth()} - 1];
  slot->bytes.store(bytes, std::memory_order_release);
  slot->tag.store(0, std::memory_order_release);
  slot->header.store(id, std::memory_order_release);
  ready.requested += bytes;
  ready.word += pop_step;
  if (ready.is_carried()) [[unlikely]] {
    return after_carry(&ready, gate, slot->data.load(std::memory_order_relaxed), id);
  }
  const popped made{slot->data.load(std::memory_order_relaxed), id};
  gate.leave();
  asm("" : : "r"(of));
  return made;
}

[[gnu::noinline]] bool push(stand_in* of, std::uint64_t id) noexcept {
  const gate_ref gate(of->gate);
  front_cache& cache = gate.enter();
  record& slot = *reinterpret_cast<record*>(of->base + (id & of->mask));
  std::uint64_t freed = freed_header(id);
  asm("" : "+r"(freed));
  if (slot.header.load(std::memory_order_acquire) != id) [[unlikely]] {
    return push_slowly(of, id, gate);
  }
  magazine& home = cache.at(slot.magazine.load(std::memory_order_relaxed));
  const std::uint16_t depth = home.depth();
  if (depth >= home.limit) [[unlikely]] {
    return push_slowly(of, id, gate);
  }
  slot.header.store(freed, std::memory_order_release);
  home.slots[depth] = home.top;
  home.top = &slot;
  home.word += push_step;
  home.requested -= slot.bytes.load(std::memory_order_relaxed);
  gate.leave();
  return true;
}

[[nodiscard]] bool run_pairs(stand_in* of, int pairs) noexcept {
  bool all = true;
  for (int i = 0; i < pairs && all; ++i) {
    const popped made = pop(hidden(of), hidden(block_bytes), hidden(0U));
    all = made.id != 0 && push(hidden(of), made.id);
  }
  return all;
}

/// Ticks of a warm operation as a sample reads it.
[[nodiscard]] double sampled_ticks(stand_in& of) noexcept {
  thread_latency& latency = of.cache->latency;
  const auto sum = [&] {
    return latency.sums(operation_kind::allocate).warm_ticks +
           latency.sums(operation_kind::free).warm_ticks;
  };
  const std::uint64_t before = sum();
  constexpr int samples = 256;
  for (int i = 0; i < samples; ++i) {
    // The processor must not expect the sample.
    (void)run_pairs(&of, 127);
    latency.want(i % 2 == 0 ? operation_kind::allocate : operation_kind::free, 0);
    const std::uint64_t id = i % 2 == 0 ? 0 : pop(&of, hidden(block_bytes), hidden(0U)).id;
    of.cache->close_for_sample();
    (void)push(&of, i % 2 == 0 ? pop(&of, hidden(block_bytes), hidden(0U)).id : id);
  }
  return static_cast<double>(sum() - before) / samples;
}

/// Ticks of one among others.
[[nodiscard]] double ticks_in_a_run(stand_in& of) noexcept {
  constexpr int pairs = 1024;
  const std::uint64_t begin = cycle_clock::fenced_now();
  (void)run_pairs(&of, pairs);
  return static_cast<double>(cycle_clock::fenced_now() - begin) / (2 * pairs);
}

/// The clock's steps may be longer than a reading takes.
[[nodiscard]] double ticks_of_reading() noexcept {
  constexpr int readings = 128;
  const std::uint64_t first = cycle_clock::now();
  std::uint64_t last = first;
  for (int i = 0; i < readings; ++i) {
    last = cycle_clock::now();
  }
  return static_cast<double>(last - first) / readings;
}

constexpr std::size_t rounds = 5;  // the thread may be interrupted in one or two
[[nodiscard]] double median(std::array<double, rounds> of) noexcept {
  std::nth_element(of.begin(), of.begin() + rounds / 2, of.end());
  return of[rounds / 2];
}

[[nodiscard]] timing_cost find_out() noexcept {
  const std::size_t cache_bytes = front_cache::bytes_for(lanes);
  const address_space memory = address_space::reserve(cache_bytes + sizeof(stand_in));
  if (!memory) {
    return {};
  }
  front_cache& cache = *::new (memory.data()) front_cache;
  auto& of = *::new (static_cast<std::byte*>(memory.data()) + cache_bytes) stand_in;
  of.gate = reinterpret_cast<std::byte*>(&gate_of_stand_in) -
            static_cast<std::byte*>(__builtin_thread_pointer());
  of.base = reinterpret_cast<std::byte*>(&of.slot);
  of.cache = &cache;
  const unsigned size_class = size_class_of(block_bytes);
  of.slot.header.store(freed_header(generation_step), std::memory_order_relaxed);
  of.slot.magazine.store(front_cache::offset_of(0, size_class), std::memory_order_relaxed);
  magazine& home = cache.lane0_small(size_class);
  home.open();
  home.limit = magazine_slots;
  home.push(&of.slot);
  cache.gate = &gate_of_stand_in;
  cache.gate->cache.store(&cache);
  std::array<double, rounds> sampled{};
  std::array<double, rounds> among_others{};
  std::array<double, rounds> reading{};
  for (std::size_t round = 0; round < rounds; ++round) {
    among_others[round] = ticks_in_a_run(of);
    sampled[round] = sampled_ticks(of);
    reading[round] = ticks_of_reading();
  }
  cache.gate->cache.store(&sentinel.cache);
  const double least = median(among_others);
  return {
      .reading = median(reading), .warm = std::max(0.0, median(sampled) - least), .least = least};
}

}  // namespace

timing_cost cost_of_timing() noexcept {
  static const timing_cost found = find_out();
  return found;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
