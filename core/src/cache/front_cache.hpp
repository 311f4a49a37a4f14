// SPDX-License-Identifier: Apache-2.0
//
// front_cache: the ready slots of one thread for one pool, behind a biased lock. Its owner works on
// it with plain stores; everybody else closes the gate, waits until the owner is out, and has it
// alone.
//
//   owner:   busy = 1; c = gate; work on c; busy = 0
//   closer:  gate = sentinel; barrier in all threads; wait for busy == 0; work; gate = cache
//            (under the pool's mutex of caches, so there is one closer at a time)
//
// The gate is the pointer by which the owner finds its cache, in its thread-local table: closed, it
// leads to the sentinel, an all-zero cache whose magazines are empty and full at once, so every pop
// and every push there misses. The warm path needs no check of its own for threads that are new or
// ending, for revocation, for observers or for closed pools.
//
// A magazine is a stack of free, bound records of one size class in one lane. Its first cache line
// holds all counts; `word` is depth and pops in one, so a pop adds one constant and a push another:
//   word = pops << 16 | depth,  pop: word += (1 << 16) - 1,  push: word += 1
//   pops since birth = pops_base + (word >> 16) - (2^48 - sample_period), and pops_base is wrapped
//   at birth so that the first carry comes after first_sample_period pops
//   pushes since birth = depth + pops - filled (filled: moved in minus moved out by slow paths)
//
// The pops start `sample_period` below their overflow: the carry of the add asks for samples
// (latency_sampler.hpp).
//
// Thread safety: fields marked "owner" are touched inside the biased lock only.
#pragma once

#include "cache/class_counts.hpp"
#include "cache/gate.hpp"
#include "cache/latency_sampler.hpp"
#include "record/record.hpp"
#include <tidepool/size_class.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

class thread_caches;

inline constexpr std::uint64_t pop_step = (std::uint64_t{1} << 16) - 1;
inline constexpr std::uint64_t push_step = 1;
/// The word of a magazine whose pops carry after `pops` more.
[[nodiscard]] constexpr std::uint64_t word_before_carry(std::uint64_t pops) noexcept {
  return ((std::uint64_t{1} << 48) - pops) << 16;
}
inline constexpr std::uint64_t word_after_carry = word_before_carry(sample_period);
inline constexpr unsigned magazine_slots = 56;

struct alignas(64) magazine {
  std::uint64_t word = 0;    // owner; 0 before first use
  std::uint64_t filled = 0;  // owner; modulo 2^64
  // Not beside `word`: compilers would join both adds into one vector load, which must wait for the
  // two scalar stores before it (no store forwarding).
  std::uint64_t requested = 0;   // owner; bytes allocated minus bytes freed here, modulo 2^64
  std::uint64_t pops_base = 0;   // owner
  std::uint64_t ready_hits = 0;  // owner; pops served by the pool's ready list
  std::uint64_t refills = 0;     // owner; pops served by the backend
  record* top = nullptr;         // owner; the newest, null when empty
  std::uint16_t limit = 0;       // owner; depth <= limit <= magazine_slots
  std::uint16_t unused = 0;
  std::uint32_t pushes_passed = 0;  // owner; low half of the pushes when pass_pushes was called
  // owner; the records, oldest first: slots[i] is the i-th for 1 <= i < depth, `top` is the last,
  // and slots[0] is null. A push stores the old top at slots[depth]; a pop loads the new top from
  // slots[depth - 1]. So a pop knows its record, the old top, without either of these accesses.
  record* slots[magazine_slots] = {};

  /// The i-th oldest, 1 <= i <= depth.
  [[nodiscard]] record* at(unsigned i) const noexcept { return i == depth() ? top : slots[i]; }
  /// Pre: depth < limit.
  void push(record* slot) noexcept {
    slots[depth()] = top;
    top = slot;
    word += push_step;
  }
  /// Takes the `count` oldest out. Pre: count <= depth.
  void take_oldest(unsigned count, record** out) noexcept {
    const unsigned before = depth();
    for (unsigned i = 1; i <= count; ++i) {
      out[i - 1] = at(i);
    }
    for (unsigned i = 1; i + count < before; ++i) {
      slots[i] = slots[i + count];
    }
    top = count == before ? nullptr : top;
    word -= count;
    filled -= count;
  }
  /// Takes the i-th oldest out.
  [[nodiscard]] record* take(unsigned i) noexcept {
    record* const taken = at(i);
    if (i == depth()) {
      top = slots[i - 1];
    } else {
      for (; i + 1 < depth(); ++i) {
        slots[i] = slots[i + 1];
      }
    }
    word -= 1;
    filled -= 1;
    return taken;
  }

  /// The low half-word. Volatile: read whole, as it was stored. Compilers would narrow the load,
  /// and a store is forwarded sooner to a load of its own size (0.5 ns per pair on Zen 4).
  [[nodiscard]] std::uint16_t depth() const noexcept {
    return static_cast<std::uint16_t>(*static_cast<const volatile std::uint64_t*>(&word));
  }
  [[nodiscard]] std::uint64_t pops() const noexcept {
    return word == 0 ? 0 : pops_base + (word >> 16) - (word_after_carry >> 16);
  }
  [[nodiscard]] std::uint64_t pushes() const noexcept { return depth() + pops() - filled; }
  [[nodiscard]] class_counts counts() const noexcept {
    return {pops(), pushes(), ready_hits, refills, requested};
  }
  void open() noexcept {
    if (word == 0) {
      word = word_before_carry(first_sample_period);
      pops_base = first_sample_period - sample_period;
    }
  }
  /// Counts an allocation or a free that bypassed the stack.
  void count_pop(const made_count& one) noexcept {
    open();
    word += std::uint64_t{1} << 16;
    filled += 1;
    requested += one.requested;
    ready_hits += one.from == block_source::ready ? 1 : 0;
    refills += one.from == block_source::backend ? 1 : 0;
    keep_counting();
  }
  /// Takes the count of such an allocation back.
  void uncount_pop(const made_count& one) noexcept {
    open();
    word -= std::uint64_t{1} << 16;
    filled -= 1;
    requested -= one.requested;
    ready_hits -= one.from == block_source::ready ? 1 : 0;
    refills -= one.from == block_source::backend ? 1 : 0;
  }
  void count_push(std::uint64_t bytes) noexcept {
    open();
    filled -= 1;
    requested -= bytes;
  }
  /// After the pops overflowed.
  void keep_counting() noexcept {
    if (is_carried()) {
      word += word_after_carry;
      pops_base += sample_period;
    }
  }
  /// The pushes since the last call.
  [[nodiscard]] std::uint32_t pass_pushes() noexcept {
    const auto now = static_cast<std::uint32_t>(pushes());
    const std::uint32_t passed = now - pushes_passed;
    pushes_passed = now;
    return passed;
  }
  /// The pops overflowed: from the top half of all words, where they start, to the bottom.
  [[nodiscard]] bool is_carried() const noexcept { return static_cast<std::int64_t>(word) >= 0; }
};
static_assert(sizeof(magazine) == 512);
static_assert(offsetof(magazine, slots) == 64);

/// One lane of a front cache: a magazine per size class, and which of them were ever used.
struct lane_front {
  static constexpr std::size_t words = (size_class_count + 63) / 64;
  std::uint64_t used[words] = {};  // owner; bit i: magazine i has counts
  std::uint64_t published = 0;     // owner; of all `requested`, what the device's live total knows
  std::uint64_t unused[(64 - (words + 1) * 8 % 64) / 8] = {};
  // Classes up to 1 MiB are used here; the places of the others stay empty, so that the warm path
  // finds nothing there and needs no test for them.
  magazine magazines[size_class_count];
  magazine large[size_class_count - (last_small_class + 1 - first_size_class)];

  [[nodiscard]] magazine& magazine_of(unsigned size_class) noexcept {
    return size_class <= last_small_class ? magazines[size_class - first_size_class]
                                          : large[size_class - last_small_class - 1];
  }
  void mark_used(unsigned size_class) noexcept {
    const unsigned i = size_class - first_size_class;
    used[i / 64] |= std::uint64_t{1} << (i % 64);
  }
  /// Calls f(size_class, magazine) for every magazine that was ever used.
  template <class F>
  void for_each_used(F&& f) {
    for (std::size_t w = 0; w < words; ++w) {
      for (std::uint64_t bits = used[w]; bits != 0; bits &= bits - 1) {
        const auto i =
            static_cast<unsigned>(w * 64 + static_cast<unsigned>(std::countr_zero(bits)));
        f(i + first_size_class, magazine_of(i + first_size_class));
      }
    }
  }
};
static_assert(sizeof(lane_front) % 64 == 0 && offsetof(lane_front, magazines) % 64 == 0);

/// Lanes that every front cache has, and the warm path serves. Threads keep blocks of further lanes
/// in chunks, which slow paths serve, without a lock too.
inline constexpr std::size_t most_cached_lanes = 32;
inline constexpr std::size_t lanes_in_chunk = 32;
inline constexpr std::size_t most_chunks = 127;

/// Remembers the lane of a stream without a number, so that a thread which goes on with one stream
/// need not look it up again. Each thread has its own memo, so the memo can also hold the lane of
/// the per-thread default stream.
struct lane_memo {
  const void* handle = nullptr;    // the stream's; null: no memo
  const void* expected = nullptr;  // what the lane's key then has
  std::uint32_t lane = 0;
};

struct alignas(64) front_cache {
  std::atomic<thread_caches*> owner{nullptr};  // of the pool whose cache it is; null: of none
  gate_entry* gate = nullptr;            // in its thread's table; null: the pool has none there
  std::atomic<bool> fenced_open{false};  // the gate where owners must fence: no barrier, or none
  std::atomic<std::uint32_t> fenced_busy{0};
  front_cache* next = nullptr;     // of the pool's caches; guarded by its mutex of caches
  std::size_t lanes = 0;           // owner; magazines exist for lanes [0, lanes)
  std::size_t small_capacity = 0;  // owner; sum of limit * size over classes up to 1 MiB
  std::size_t large_capacity = 0;  // owner; the same above
  std::uint64_t thread = 0;        // the system's number of the owner
  std::uint64_t operations = 0;    // at the last tick; guarded by the pool's mutex of caches
  lane_memo memo;                  // owner
  thread_latency latency;          // owner thread
  // owner; of lanes from most_cached_lanes on, each in a mapping of its own. Those of a smaller
  // number are made first.
  lane_front* chunks[most_chunks] = {};

  alignas(64) magazine none;  // limit 0, never filled: for slots that no magazine takes
  // `lanes` times lane_front follows.

  [[nodiscard]] static constexpr std::uint32_t offset_of(std::size_t lane,
                                                         unsigned size_class) noexcept;
  [[nodiscard]] static constexpr std::uint32_t offset_of_none() noexcept;
  [[nodiscard]] static constexpr std::size_t bytes_for(std::size_t lanes) noexcept;

  [[nodiscard]] magazine& at(std::uint32_t offset) noexcept {
    return *reinterpret_cast<magazine*>(reinterpret_cast<std::byte*>(this) + offset);
  }
  /// Pre: number < lanes.
  [[nodiscard]] lane_front& lane(std::size_t number) noexcept;
  /// The same for the warm path. Pre: number < most_cached_lanes.
  [[nodiscard]] lane_front& near_lane(std::size_t number) noexcept;
  /// Gives the memory of all chunks back. Pre: no pool has the cache.
  void release_chunks() noexcept;
  [[nodiscard]] magazine& lane0_small(unsigned size_class) noexcept;
  /// Where a lane's magazines would begin if there were a size class 0: a distance that may be
  /// below zero.
  [[nodiscard]] static constexpr std::size_t origin_of(std::size_t number) noexcept;
  /// The magazine of a class up to 1 MiB; empty for others. Pre: origin == origin_of(a lane).
  [[nodiscard]] magazine& small_at(std::size_t origin, unsigned size_class) noexcept {
    return *reinterpret_cast<magazine*>(reinterpret_cast<std::byte*>(this) +
                                        (origin + std::size_t{size_class} * sizeof(magazine)));
  }

  /// The owner's entry from slow paths: true when the biased lock is held. leave() ends it either
  /// way.
  [[nodiscard]] bool enter() noexcept {
    if (gate != nullptr) {
      return &gate->enter() == this;
    }
    fenced_busy.store(1, std::memory_order_seq_cst);
    return fenced_open.load(std::memory_order_seq_cst);
  }
  void leave() noexcept {
    if (gate != nullptr) {
      gate->leave();
    } else {
      fenced_busy.store(0, std::memory_order_release);
    }
  }

  // Sending operations to the slow path to be timed; see latency_sampler.hpp. For the owner.

  /// The pops of a magazine have carried.
  void ask_after_carry(magazine& m) noexcept {
    const bool first = m.pops() == first_sample_period;
    latency.pass(operation_kind::allocate, first ? first_sample_period : sample_period);
    latency.pass(operation_kind::free, m.pass_pushes());
    latency.add_asking();
    latency.want(operation_kind::allocate, 0);
    latency.want(operation_kind::free, 0);
  }
  /// After a slow free into a magazine: shall one be timed, it will be any of those that still fit.
  void ask_after_slow_free(magazine& m) noexcept {
    latency.pass(operation_kind::free, m.pass_pushes());
    if (m.depth() < m.limit && !latency.wants() && latency.is_free_due()) {
      latency.want(operation_kind::free, latency.place_below(std::uint32_t{m.limit} - m.depth()));
    }
  }
  /// Closes the gate if an operation is wanted. Without a gate all operations are slow, and none is
  /// sampled. Pre: the owner has left.
  void close_for_sample() noexcept;
  /// True: the gate was closed for a sample, and it is open now. If others have closed it
  /// meanwhile, or opened it, it stays so.
  [[nodiscard]] bool open_after_sample() noexcept;
};

static_assert(sizeof(front_cache) % 64 == 0);

constexpr std::uint32_t front_cache::offset_of(std::size_t lane, unsigned size_class) noexcept {
  const std::size_t in_lane =
      size_class <= last_small_class
          ? offsetof(lane_front, magazines) + (size_class - first_size_class) * sizeof(magazine)
          : offsetof(lane_front, large) + (size_class - last_small_class - 1) * sizeof(magazine);
  return static_cast<std::uint32_t>(sizeof(front_cache) + lane * sizeof(lane_front) + in_lane);
}
constexpr std::uint32_t front_cache::offset_of_none() noexcept {
  return static_cast<std::uint32_t>(sizeof(front_cache) - sizeof(magazine));
}
constexpr std::size_t front_cache::bytes_for(std::size_t lanes) noexcept {
  return sizeof(front_cache) + lanes * sizeof(lane_front);
}
constexpr std::size_t front_cache::origin_of(std::size_t number) noexcept {
  return number * sizeof(lane_front) + sizeof(front_cache) + offsetof(lane_front, magazines) -
         first_size_class * sizeof(magazine);
}
// Written so that all constants end in the addressing mode.
inline magazine& front_cache::lane0_small(unsigned size_class) noexcept {
  constexpr std::size_t first = sizeof(front_cache) + offsetof(lane_front, magazines);
  // The constant alone may be below zero: numbers wrap, addresses must not.
  const std::size_t offset =
      std::size_t{size_class} * sizeof(magazine) + (first - first_size_class * sizeof(magazine));
  return *reinterpret_cast<magazine*>(reinterpret_cast<std::byte*>(this) + offset);
}
inline lane_front& front_cache::near_lane(std::size_t number) noexcept {
  return *reinterpret_cast<lane_front*>(reinterpret_cast<std::byte*>(this) + sizeof(front_cache) +
                                        number * sizeof(lane_front));
}

inline lane_front& front_cache::lane(std::size_t number) noexcept {
  if (number < most_cached_lanes) {
    return near_lane(number);
  }
  const std::size_t beyond = number - most_cached_lanes;
  return chunks[beyond / lanes_in_chunk][beyond % lanes_in_chunk];
}

/// The cache that always misses. Read by every thread, written by none.
struct sentinel_cache {
  front_cache cache;
  lane_front lanes[most_cached_lanes];
};
extern constinit sentinel_cache sentinel;
/// Another one: the owner's gate leads here when it was closed for a sample, so that the owner
/// opens no gate that somebody else has closed.
extern constinit sentinel_cache sample_sentinel;

inline void front_cache::close_for_sample() noexcept {
  if (!latency.wants()) {
    return;
  }
  front_cache* seen = this;
  if (gate == nullptr || (!gate->cache.compare_exchange_strong(seen, &sample_sentinel.cache) &&
                          seen != &sample_sentinel.cache)) {
    latency.want_none();
  }
}
inline bool front_cache::open_after_sample() noexcept {
  front_cache* closed = &sample_sentinel.cache;
  return gate != nullptr && gate->cache.load(std::memory_order_relaxed) == closed &&
         gate->cache.compare_exchange_strong(closed, this);
}

constexpr gate_entry::gate_entry() noexcept : cache(&sentinel.cache) {}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
