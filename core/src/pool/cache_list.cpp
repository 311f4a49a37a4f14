// SPDX-License-Identifier: Apache-2.0
//
// cache_list: opening and closing gates.
#include "pool/cache_list.hpp"

#include "system/asymmetric_barrier.hpp"

#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Pre: the cache's gate is closed, and all threads have passed a barrier since.
void wait_for_owner(front_cache& cache) noexcept {
  // seq_cst pairs with the owner's fenced entry. An owner is inside for nanoseconds unless it was
  // preempted there, so the closer yields after a short spin.
  const std::atomic<std::uint32_t>& busy =
      cache.gate != nullptr ? cache.gate->busy : cache.fenced_busy;
  for (int spins = 0; busy.load(std::memory_order_seq_cst) != 0; ++spins) {
    if (spins > 64) {
      std::this_thread::yield();
    }
  }
}

}  // namespace

void cache_list::open_gate(front_cache& cache) noexcept {
  if (cache.gate != nullptr) {
    cache.gate->cache.store(&cache, std::memory_order_seq_cst);
  } else {
    cache.fenced_open.store(true, std::memory_order_seq_cst);
  }
}

void cache_list::close_gate(front_cache& cache) noexcept {
  if (cache.gate != nullptr) {
    cache.gate->cache.store(&sentinel.cache, std::memory_order_seq_cst);
  } else {
    cache.fenced_open.store(false, std::memory_order_seq_cst);
  }
}

// Post: no owner but that of `all_but` is inside. Pre: mutex_ is held.
void cache_list::close_gates(const front_cache* all_but) noexcept {
  for (front_cache* cache = first_; cache != nullptr; cache = cache->next) {
    if (cache != all_but) {
      close_gate(*cache);
    }
  }
  if (!how_.fenced && first_ != nullptr) {
    asymmetric_barrier();
  }
  for (front_cache* cache = first_; cache != nullptr; cache = cache->next) {
    if (cache != all_but) {
      wait_for_owner(*cache);
    }
  }
}

// Pre: mutex_ is held.
void cache_list::open_gates() noexcept {
  if (may_open()) {
    for (front_cache* cache = first_; cache != nullptr; cache = cache->next) {
      open_gate(*cache);
    }
  }
}

bool cache_list::add(front_cache& cache, thread_caches& owner) noexcept {
  const std::lock_guard lock(mutex_);
  if (operations_.is_closed()) {
    return false;
  }
  cache.owner.store(&owner, std::memory_order_relaxed);
  cache.next = first_;
  first_ = &cache;
  ++count_;
  if (may_open()) {
    open_gate(cache);
  }
  return true;
}

// Pre: mutex_ is held.
void cache_list::unlink(const front_cache& cache) noexcept {
  for (front_cache** link = &first_; *link != nullptr; link = &(*link)->next) {
    if (*link == &cache) {
      *link = cache.next;
      --count_;
      return;
    }
  }
}

void cache_list::set_observed(bool observed) noexcept {
  holder all(*this);
  observed_ = observed;
  all.close();
}

front_cache* cache_list::close_for_good() noexcept {
  holder all(*this);
  all.close();
  return first_;
}

// The forking thread's own cache stays open. The thread is inside it only if it forks in a signal
// handler, and then it goes on inside in both processes.
void cache_list::pause(const front_cache* own) noexcept {
  const std::lock_guard lock(mutex_);
  close_gates(own);
}

void cache_list::resume() noexcept {
  const std::lock_guard lock(mutex_);
  open_gates();
}

// The system refuses the barrier from now on, so the list goes on as if it always had.
bool cache_list::lose_barrier(front_cache* own) noexcept {
  how_.fenced = true;
  if (own != nullptr) {
    close_gate(*own);
    own->gate = nullptr;
  }
  return true;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
