// SPDX-License-Identifier: Apache-2.0
//
// Closing all gates: taking free blocks back from every thread, observers.
#include "pool/recall.hpp"

#include "pool/pool_core.hpp"
#include "pool/thread_caches.hpp"

#include <algorithm>
#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

void pool_core::open_gate(front_cache& cache) noexcept {
  if (cache.home != nullptr) {
    cache.home->cache.store(&cache, std::memory_order_seq_cst);
  } else {
    cache.fenced_open.store(true, std::memory_order_seq_cst);
  }
}

void pool_core::close_gate(front_cache& cache) noexcept {
  if (cache.home != nullptr) {
    cache.home->cache.store(&sentinel.cache, std::memory_order_seq_cst);
  } else {
    cache.fenced_open.store(false, std::memory_order_seq_cst);
  }
}

// Pre: its gate is closed, and the barrier was passed since.
void pool_core::wait_for_owner(front_cache& cache) noexcept {
  // seq_cst pairs with the owner's fenced entry; an owner is inside for nanoseconds unless it was
  // preempted there, so yield after a short spin.
  const std::atomic<std::uint32_t>& busy =
      cache.home != nullptr ? cache.home->busy : cache.fenced_busy;
  for (int spins = 0; busy.load(std::memory_order_seq_cst) != 0; ++spins) {
    if (spins > 64) {
      std::this_thread::yield();
    }
  }
}

std::size_t pool_core::recall(bool reserves_too) noexcept {
  {
    const std::lock_guard lock(registry_mutex_);
    with_closed_gates([this](front_cache& cache) { drain(cache); });
  }
  std::size_t taken = drain_ready(reserves_too);
  if (debug_ != nullptr) [[unlikely]] {
    taken += shrink_quarantine(0);
    (void)drain_ready(reserves_too);  // that is where they went
  }
  incidents.recalled(taken);
  return taken;
}

// Pre: the caller has the cache alone.
void pool_core::drain(front_cache& cache) noexcept {
  for (std::size_t i = 0; i < std::min(cache.lanes, lanes.count()); ++i) {
    lane& where = lanes.at(i);
    drain(where, cache);
  }
}

// Of one lane. Pre: the same.
void pool_core::drain(lane& where, front_cache& cache) noexcept {
  if (where.number >= cache.lanes) {
    return;
  }
  publish(where, cache);
  cache.lane(where.number).for_each_used([&](unsigned size_class, magazine& m) {
    const std::size_t capacity = m.limit * size_of_class(size_class);
    (size_class > last_small_class ? cache.large_capacity : cache.small_capacity) -= capacity;
    front_capacity_.fetch_sub(capacity, std::memory_order_relaxed);
    m.limit = 0;
    if (const unsigned depth = m.depth(); depth != 0) {
      std::array<record*, magazine_slots> taken;
      m.take_oldest(depth, taken.data());
      give_back(where, size_class, std::span(taken).first(depth));
    }
  });
}

std::size_t pool_core::drain_ready(bool reserves_too) noexcept {
  std::size_t taken = 0;
  for (std::size_t i = 0; i < lanes.count(); ++i) {
    lane& where = lanes.at(i);
    if (!where.is_arena || is_closed()) {
      taken += drain_ready(where, reserves_too);
    }
  }
  return taken;
}

std::size_t pool_core::drain_ready(lane& where, bool reserves_too) noexcept {
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

void pool_core::thread_idle() noexcept {
  const operation guard(*this);
  front_cache* const cache = find_this_thread(*this);
  if (cache == nullptr) {
    return;
  }
  const std::lock_guard lock(registry_mutex_);
  if (cache->owner.load(std::memory_order_relaxed) == this) {
    drain(*cache);  // ours: nobody is inside
  }
}

void pool_core::set_observer(allocation_observer* observer) noexcept {
  const operation guard(*this);
  incidents.set_observer(observer);
  const std::lock_guard lock(registry_mutex_);
  with_closed_gates([](front_cache&) {});  // they stay closed while there is an observer
}

void pool_core::notify_made(tensor_id id) noexcept {
  tensor_info info;
  if (incidents.is_observed() && directory.read(id, info)) {
    incidents.made(info);
  }
}

void pool_core::notify_ended(tensor_id id) noexcept {
  tensor_info info;
  if (incidents.is_observed() && directory.read(id, info)) {
    incidents.ended(info);
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
