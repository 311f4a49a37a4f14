// SPDX-License-Identifier: Apache-2.0
//
// What fork does to one pool: it stands still while the process is copied, and the child takes over
// what the threads that it does not have kept ready. Called by pool_list.cpp only.
#include "access/store.hpp"
#include "pool/pool_core.hpp"
#include "pool/recall.hpp"
#include "pool/thread_caches.hpp"
#include "system/address_space.hpp"

#include <algorithm>
#include <memory>

namespace tidepool {
inline namespace v0 {
namespace detail {

// This thread's own cache stays open: it is inside only if it forks in a signal handler, and then
// it goes on in both processes.
void pool_core::pause_for_fork() noexcept {
  accesses->lock_for_fork();  // batches are no operations that operation_count waits for
  const std::lock_guard lock(registry_mutex_);
  const front_cache* const own = find_this_thread(*this);
  for (front_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    if (cache != own) {
      close_gate(*cache);
    }
  }
  if (!fenced_ && caches_ != nullptr) {
    asymmetric_barrier();
  }
  for (front_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    if (cache != own) {
      wait_for_owner(*cache);
    }
  }
}

void pool_core::resume_after_fork() noexcept {
  accesses->unlock_after_fork();
  const std::lock_guard lock(registry_mutex_);
  if (front_open()) {
    for (front_cache* cache = caches_; cache != nullptr; cache = cache->next) {
      open_gate(*cache);
    }
  }
}

// One thread is left. Calls no backend: a child that only calls exec must not touch a device.
void pool_core::continue_in_child(bool has_barrier) noexcept {
  operations.continue_in_child();
  const operation_count::own_operations own = operations.of_this_thread();
  if (own.counted == 0) {
    climbing_.store(0, std::memory_order_relaxed);
    lanes.reserved.forget_suspensions();
    for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
      entry->reserved.forget_suspensions();
    }
  }
  incidents.continue_in_child(own.observing);
  front_cache* const mine = find_this_thread(*this);
  for (front_cache* cache = caches_; cache != nullptr;) {
    front_cache* const next = cache->next;
    if (cache != mine) {
      inherit(*cache);
    }
    cache = next;
  }
  caches_ = mine;
  cache_count_ = mine == nullptr ? 0 : 1;
  if (mine != nullptr) {
    mine->next = nullptr;
  }
  if (!has_barrier && !fenced_) {
    // A system that refuses the barrier only now: from here on as if it always had.
    fenced_ = true;
    has_gate_ = false;
    gate = offset_of_gate(pool_gates);
    if (mine != nullptr) {
      close_gate(*mine);
      mine->home = nullptr;
    }
  }
  resume_after_fork();
}

// Moves what a vanished thread kept to the ready lists, and its counts to the lanes. Its memory was
// known to that thread alone.
void pool_core::inherit(front_cache& cache) noexcept {
  for (std::size_t i = 0; i < std::min(cache.lanes, lanes.count()); ++i) {
    lane& where = lanes.at(i);
    publish(where, cache);
    cache.lane(i).for_each_used([&](unsigned size_class, magazine& m) {
      front_capacity_.fetch_sub(m.limit * size_of_class(size_class), std::memory_order_relaxed);
      std::array<record*, magazine_slots> taken;
      const unsigned depth = m.depth();
      m.take_oldest(depth, taken.data());
      std::size_t bytes = 0;
      for (unsigned d = 0; d < depth; ++d) {
        bytes += taken[d]->capacity.load(std::memory_order_relaxed);
      }
      where.ready_bytes().fetch_add(bytes, std::memory_order_relaxed);
      (void)where.ready_of(size_class).put(std::span(taken).first(depth));
      where.counts_of(size_class) += m.counts();
    });
  }
  address_space::release(&cache, front_cache::bytes_for(cache.lanes));
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
