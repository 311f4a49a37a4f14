// SPDX-License-Identifier: Apache-2.0
//
// thread_caches: the blocks that threads keep ready for one pool. For the owner of a cache it takes
// blocks out and puts blocks in on the slow paths; for everybody else it takes blocks back. Which
// caches there are: cache_list.hpp; which one is this thread's: this_thread.hpp.
//
// A slow operation is handed its thread's cache once (null: the thread has none), and enters its
// biased lock once to look for a block and once more to keep what a refill brought: nothing may be
// waited for inside, so a backend cannot be asked there.
//
// Thread safety: functions that take a cache belong to its owner, unless their comment says
// otherwise; all others may be called from any thread.
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
    std::size_t thread_bytes = 0;  // a quarter for blocks up to 1 MiB, the rest above
    std::size_t total_bytes = 0;   // of all threads
    std::size_t lanes = 0;         // of which threads keep blocks: the first ones
    cache_list::settings gates;
    /// Called by a thread that ends, with the process mutex held, before its cache is taken back.
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
  /// Where in each thread's table this pool's gate is; none: threads find their caches by the slow
  /// path only.
  [[nodiscard]] std::optional<std::ptrdiff_t> gate() const noexcept { return gate_; }
  /// Called once, before a thread attaches.
  void set_gate(std::ptrdiff_t offset) noexcept { gate_ = offset; }
  /// Pre: the calling thread, whose cache it is, ends; the process mutex is held.
  void end_thread(front_cache& cache) noexcept;

  // Blocks (cached_blocks.cpp). `cache` may be null.
  /// What the thread has for a demand: a free slot, which is counted as allocated; or how many
  /// slots to ask others for. The thread may keep that many from now on.
  struct found {
    record* slot = nullptr;
    std::size_t batch = 1;
  };
  [[nodiscard]] found take(const block_demand& demand, front_cache* cache) noexcept;
  /// slots[0], which others gave, is allocated and counted; the thread keeps the rest as far as it
  /// may. Pre: the rest are free slots of one class in the lane.
  void keep_rest(const block_demand& demand, std::span<record* const> slots, block_source from,
                 front_cache* cache) noexcept;
  /// The opposite of the count that take or keep_rest made, for an allocation that fails now.
  void uncount(const record& slot, const made_count& one, front_cache* cache) noexcept;
  /// Counts and keeps a block whose tensor has just ended. Pre: its header is free.
  void put(record& slot, std::uint64_t bytes, front_cache* cache) noexcept;
  /// Gives the thread's large free blocks of a lane to the backend, where they join their
  /// neighbours. Returns how many.
  std::size_t flush_large(lane& where, front_cache* cache) noexcept;

  // The thread's memo of the lane that it used last.
  [[nodiscard]] static lane_memo memo_of(front_cache* cache) noexcept;
  static void set_memo(front_cache* cache, const lane_memo& memo) noexcept;

  latency_sampler sampler;

  // All caches at once.
  /// Free blocks of all threads go to ready lists and backends.
  void drain_all() noexcept;
  /// Those of threads that did nothing since the last call.
  void drain_idle() noexcept;
  /// This thread's.
  void drain_own(front_cache& cache) noexcept;
  /// Every cache is removed. Pre: the pool is closed, the process mutex is held.
  void remove_all() noexcept;
  /// No thread is inside by a key that was closed before.
  void pass_all_gates() noexcept;
  /// Blocks of a lane that retires leave all caches; threads forget it. The number of its tensors
  /// that are alive.
  [[nodiscard]] std::uint64_t retire_lane(lane& gone) noexcept;
  /// Adds what was requested through the cache since the last time to its device's live bytes.
  /// Pre: the caller has the cache.
  static void publish(lane& where, front_cache& cache) noexcept;
  /// Sum over caches of limit * size.
  [[nodiscard]] std::size_t capacity() const noexcept {
    return capacity_.load(std::memory_order_relaxed);
  }

  /// As cache_list: what vanished threads kept goes to the ready lists, calling no backend.
  [[nodiscard]] bool continue_in_child(front_cache* own, bool has_barrier) noexcept;

 private:
  void remove(front_cache& cache) noexcept;
  void drain(front_cache& cache) noexcept;
  void drain(lane& where, front_cache& cache) noexcept;
  void inherit(front_cache& cache) noexcept;
  [[nodiscard]] bool has(const front_cache* cache, const lane& where) const noexcept {
    return cache != nullptr && below_.lanes.is_cached(where);
  }
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
