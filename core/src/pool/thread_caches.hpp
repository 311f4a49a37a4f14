// SPDX-License-Identifier: Apache-2.0
//
// thread_caches: the blocks that threads keep ready for one pool. On slow paths it takes blocks out
// of a cache and puts blocks in for the owner; for all others it takes blocks back. cache_list.hpp
// has the list of caches, and this_thread.hpp finds the calling thread's cache.
//
// A slow operation looks up its thread's cache once (null: it has none). It enters the biased lock
// twice: first to look for a block, then to keep the blocks of a refill. In between it is outside,
// because an owner must not wait inside and so cannot ask a backend there.
//
// Thread safety: only the owner of a cache calls functions that take a cache, unless their comment
// says otherwise; any thread may call all others.
#pragma once

#include "cache/latency_sampler.hpp"
#include "pool/block_stock.hpp"
#include "pool/cache_list.hpp"
#include "pool/lanes.hpp"
#include "pool/operation_count.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

class thread_caches {
 public:
  struct settings {
    std::size_t thread_bytes = 0;  // a quarter for blocks up to 1 MiB, the rest for larger ones
    std::size_t total_bytes = 0;   // of all threads together
    std::size_t lanes = 0;         // threads keep blocks of this many lanes, the first ones
    cache_list::settings gates;
    /// An ending thread calls it, with the process mutex held, before its cache is taken back.
    void (*on_thread_end)(void* context, std::uint64_t thread) noexcept = nullptr;
    void* context = nullptr;
  };
  struct parts {
    const operation_count& operations;
    detail::lanes& lanes;
    block_stock& stock;
  };
  thread_caches(const parts& below, const settings& how) noexcept
      : list(below.operations, how.gates), below_(below), how_(how) {}
  thread_caches(const thread_caches&) = delete;
  thread_caches& operator=(const thread_caches&) = delete;

  cache_list list;

  // For this_thread.
  [[nodiscard]] bool keep_blocks() const noexcept {
    return how_.thread_bytes != 0 && how_.lanes != 0;
  }
  [[nodiscard]] std::size_t lane_count() const noexcept { return how_.lanes; }
  /// The place of this pool's gate in each thread's table. None: threads find their caches by the
  /// slow path only.
  [[nodiscard]] std::optional<std::ptrdiff_t> gate() const noexcept { return gate_; }
  /// Called once, before a thread attaches.
  void set_gate(std::ptrdiff_t offset) noexcept { gate_ = offset; }
  /// Takes back the cache of the calling thread, which ends. Pre: the process mutex is held.
  void end_thread(front_cache& cache) noexcept;

  // Blocks (cached_blocks.cpp). `cache` may be null.
  /// The answer of take: a free slot, already counted as allocated, or the number of slots to take
  /// from elsewhere, for keep_rest.
  struct found {
    record* slot = nullptr;
    std::size_t batch = 1;
  };
  [[nodiscard]] found take(const block_demand& demand, front_cache* cache) noexcept;
  /// Counts slots[0], which came from elsewhere, as allocated, lets the thread keep more of the
  /// class, and keeps as many of the others as it may. Pre: the others are free slots of one class
  /// in the lane.
  void keep_rest(const block_demand& demand, std::span<record* const> slots, block_source from,
                 front_cache* cache) noexcept;
  /// Undoes the count of take or keep_rest, for an allocation that fails now.
  void uncount(const record& slot, const made_count& one, front_cache* cache) noexcept;
  /// Counts and keeps a block whose tensor has just ended. Pre: its header is free.
  void put(record& slot, std::uint64_t bytes, front_cache* cache) noexcept;
  /// Gives the thread's large free blocks of a lane to the backend, where they join their
  /// neighbours. Returns how many.
  std::size_t flush_large(lane& where, front_cache* cache) noexcept;

  // The thread's memo: the lane that it used last.
  [[nodiscard]] lane_memo memo_of(front_cache* cache) const noexcept;
  void set_memo(front_cache* cache, const lane_memo& memo) const noexcept;

  latency_sampler sampler;

  // All caches at once.
  /// Moves the free blocks of all threads to ready lists and backends.
  void drain_all() noexcept;
  /// Moves those of threads that did nothing since the last call.
  void drain_idle() noexcept;
  /// Moves those of the calling thread.
  void drain_own(front_cache& cache) noexcept;
  /// Removes every cache. Pre: the pool is closed, the process mutex is held.
  void remove_all() noexcept;
  /// Post: no thread is inside its cache by a key that was closed before the call.
  void pass_all_gates() noexcept;
  /// Takes the blocks of a retiring lane out of all caches; threads forget the lane. Returns the
  /// number of its live tensors.
  [[nodiscard]] std::uint64_t retire_lane(lane& gone) noexcept;
  /// Adds the bytes requested through the cache since the last call to the device's live bytes.
  /// Pre: the caller has the cache.
  static void publish(lane& where, front_cache& cache) noexcept;
  /// Sum over caches of limit * size.
  [[nodiscard]] std::size_t capacity() const noexcept {
    return capacity_.load(std::memory_order_relaxed);
  }

  /// See cache_list; moves the blocks of vanished threads to ready lists and calls no backend.
  [[nodiscard]] bool continue_in_child(front_cache* own, bool has_barrier) noexcept;

 private:
  void remove(front_cache& cache) noexcept;
  void drain(front_cache& cache) noexcept;
  void drain(lane& where, front_cache& cache) noexcept;
  void inherit(front_cache& cache) noexcept;
  // A callback of the user's may have closed the pool: the memory of the cache that an operation
  // carries may serve another pool of the thread by now.
  [[nodiscard]] bool is_own(const front_cache* cache) const noexcept {
    return cache != nullptr && cache->owner.load(std::memory_order_relaxed) == this;
  }
  // May the thread keep blocks of the lane? Makes its room for them at its first use of the lane.
  [[nodiscard]] bool has(front_cache* cache, const lane& where) const noexcept {
    return is_own(cache) && below_.lanes.is_cached(where) &&
           (where.number < cache->lanes || make_room(*cache, where));
  }
  [[nodiscard]] bool make_room(front_cache& cache, const lane& where) const noexcept;
  // While a thread climbs the out-of-memory ladder, or the pool closes, no thread takes more than
  // one block.
  [[nodiscard]] bool may_take_more(const block_demand& demand) const noexcept;
  [[nodiscard]] std::size_t batch_for(const block_demand& demand, std::size_t limit) const noexcept;
  void grow(magazine& m, unsigned size_class, front_cache& cache, record*& evicted) noexcept;
  [[nodiscard]] bool halve_richest(front_cache& cache, bool large, std::size_t above,
                                   record*& evicted) noexcept;
  void give_back_each(record* evicted) noexcept;

  const parts below_;
  const settings how_;
  std::optional<std::ptrdiff_t> gate_;
  std::atomic<std::size_t> capacity_{0};
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
