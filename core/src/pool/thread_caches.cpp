// SPDX-License-Identifier: Apache-2.0
//
// thread_caches: the list of caches, the closer's side of their gates, and fork.
#include "pool/thread_caches.hpp"

#include "system/address_space.hpp"
#include "system/asymmetric_barrier.hpp"

#include <algorithm>
#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

// Pre: mutex_ is held.
bool thread_caches::may_open() const noexcept {
  return how_.open && !observed_ && !below_.operations.is_closed() && keep_blocks();
}

void thread_caches::open_gate(front_cache& cache) noexcept {
  if (cache.gate != nullptr) {
    cache.gate->cache.store(&cache, std::memory_order_seq_cst);
  } else {
    cache.fenced_open.store(true, std::memory_order_seq_cst);
  }
}

void thread_caches::close_gate(front_cache& cache) noexcept {
  if (cache.gate != nullptr) {
    cache.gate->cache.store(&sentinel.cache, std::memory_order_seq_cst);
  } else {
    cache.fenced_open.store(false, std::memory_order_seq_cst);
  }
}

// Pre: its gate is closed, and the barrier was passed since.
void thread_caches::wait_for_owner(front_cache& cache) noexcept {
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

void thread_caches::open_gates() noexcept {
  if (may_open()) {
    for (front_cache* cache = first_; cache != nullptr; cache = cache->next) {
      open_gate(*cache);
    }
  }
}

void thread_caches::holder::close() noexcept {
  closed_ = true;
  for_each([this](front_cache& cache) { of_.close_gate(cache); });
  if (!of_.how_.fenced && of_.first_ != nullptr) {
    asymmetric_barrier();
  }
  for_each([](front_cache& cache) { wait_for_owner(cache); });
}

bool thread_caches::add(front_cache& cache) noexcept {
  const std::lock_guard lock(mutex_);
  if (below_.operations.is_closed()) {
    return false;
  }
  cache.owner.store(this, std::memory_order_relaxed);
  cache.next = first_;
  first_ = &cache;
  ++count_;
  if (may_open()) {
    open_gate(cache);
  }
  return true;
}

void thread_caches::remove(front_cache& cache) noexcept {
  const std::lock_guard lock(mutex_);
  close_gate(cache);
  drain(cache);
  below_.lanes.for_each(
      [&](lane& where) {
        const std::lock_guard counts_lock(where.mutex);
        cache.lane(where.number).for_each_used([&](unsigned size_class, magazine& m) {
          where.counts_of(size_class) += m.counts();
        });
      },
      cache.lanes);
  for (front_cache** link = &first_; *link != nullptr; link = &(*link)->next) {
    if (*link == &cache) {
      *link = cache.next;
      --count_;
      break;
    }
  }
  // The last touch: its thread may use the memory for the next pool from here on.
  cache.owner.store(nullptr, std::memory_order_release);
}

void thread_caches::end_thread(front_cache& cache) noexcept {
  if (how_.on_thread_end != nullptr) {
    how_.on_thread_end(how_.context, cache.thread);
  }
  remove(cache);
}

// Adds what was requested through the cache since the last time to its device's live bytes.
// Pre: the caller has the cache.
void thread_caches::publish(lane& where, front_cache& cache) noexcept {
  if (where.number >= cache.lanes) {
    return;
  }
  lane_front& front = cache.lane(where.number);
  std::uint64_t requested = 0;
  front.for_each_used([&](unsigned, const magazine& m) { requested += m.requested; });
  where.device->publish_live(requested - front.published);
  front.published = requested;
}

// Pre: the caller has the cache alone.
void thread_caches::drain(front_cache& cache) noexcept {
  below_.lanes.for_each([&](lane& where) { drain(where, cache); }, cache.lanes);
}

// Empties the magazines of one lane, which may keep nothing from now on. Pre: as for a whole cache.
void thread_caches::drain(lane& where, front_cache& cache) noexcept {
  if (where.number >= cache.lanes) {
    return;
  }
  publish(where, cache);
  cache.lane(where.number).for_each_used([&](unsigned size_class, magazine& m) {
    const std::size_t capacity = m.limit * size_of_class(size_class);
    (size_class > last_small_class ? cache.large_capacity : cache.small_capacity) -= capacity;
    capacity_.fetch_sub(capacity, std::memory_order_relaxed);
    m.limit = 0;
    if (const unsigned depth = m.depth(); depth != 0) {
      std::array<record*, magazine_slots> taken;
      m.take_oldest(depth, taken.data());
      below_.stock.give_back(where, size_class, std::span(taken).first(depth));
    }
  });
}

void thread_caches::drain_all() noexcept {
  holder all(*this);
  all.close();
  all.for_each([this](front_cache& cache) { drain(cache); });
}

void thread_caches::drain_idle() noexcept {
  holder all(*this);
  all.close();
  all.for_each([this](front_cache& cache) {
    std::uint64_t operations = 0;
    for (std::size_t i = 0; i < cache.lanes; ++i) {
      cache.lane(i).for_each_used(
          [&](unsigned, const magazine& m) { operations += m.pops() + m.pushes(); });
    }
    if (operations == cache.operations) {
      drain(cache);
    }
    cache.operations = operations;
  });
}

void thread_caches::drain_own(front_cache& cache) noexcept {
  const std::lock_guard lock(mutex_);
  if (cache.owner.load(std::memory_order_relaxed) == this) {
    drain(cache);  // nobody is inside: this is its thread
  }
}

void thread_caches::remove_all() noexcept {
  for (;;) {
    front_cache* cache = nullptr;
    {
      holder all(*this);
      all.close();  // they stay closed, as the pool is
      cache = first_;
    }
    if (cache == nullptr) {
      return;
    }
    remove(*cache);
  }
}

void thread_caches::set_observed(bool observed) noexcept {
  holder all(*this);
  observed_ = observed;
  all.close();
}

void thread_caches::pass_all_gates() noexcept {
  holder all(*this);
  all.close();
}

std::uint64_t thread_caches::retire_lane(lane& gone) noexcept {
  std::uint64_t alive = 0;
  holder all(*this);
  all.close();
  all.for_each([&](front_cache& cache) {
    drain(gone, cache);
    if (gone.number < cache.lanes) {
      cache.lane(gone.number).for_each_used([&](unsigned, const magazine& m) {
        alive += m.pops() - m.pushes();
      });
    }
    if (cache.memo.lane == gone.number) {
      cache.memo = {};
    }
  });
  const std::lock_guard counts_lock(gone.mutex);
  for (const class_counts& of_class : gone.counts) {
    alive += of_class.pops - of_class.pushes;
  }
  return alive;
}

// This thread's own cache stays open: it is inside only if it forks in a signal handler, and then
// it goes on in both processes.
void thread_caches::pause(const front_cache* own) noexcept {
  const std::lock_guard lock(mutex_);
  for (front_cache* cache = first_; cache != nullptr; cache = cache->next) {
    if (cache != own) {
      close_gate(*cache);
    }
  }
  if (!how_.fenced && first_ != nullptr) {
    asymmetric_barrier();
  }
  for (front_cache* cache = first_; cache != nullptr; cache = cache->next) {
    if (cache != own) {
      wait_for_owner(*cache);
    }
  }
}

void thread_caches::resume() noexcept {
  const std::lock_guard lock(mutex_);
  open_gates();
}

bool thread_caches::continue_in_child(front_cache* own, bool has_barrier) noexcept {
  for (front_cache* cache = first_; cache != nullptr;) {
    front_cache* const next = cache->next;
    if (cache != own) {
      inherit(*cache);
    }
    cache = next;
  }
  first_ = own;
  count_ = own == nullptr ? 0 : 1;
  if (own != nullptr) {
    own->next = nullptr;
  }
  const bool loses_barrier = !has_barrier && !how_.fenced;
  if (loses_barrier) {
    // A system that refuses the barrier only now: from here on as if it always had.
    how_.fenced = true;
    gate_.reset();
    if (own != nullptr) {
      close_gate(*own);
      own->gate = nullptr;
    }
  }
  return !loses_barrier;
}

// Moves what a vanished thread kept to the ready lists, and its counts to the lanes. Its memory was
// known to that thread alone.
void thread_caches::inherit(front_cache& cache) noexcept {
  below_.lanes.for_each(
      [&](lane& where) {
        publish(where, cache);
        cache.lane(where.number).for_each_used([&](unsigned size_class, magazine& m) {
          capacity_.fetch_sub(m.limit * size_of_class(size_class), std::memory_order_relaxed);
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
      },
      cache.lanes);
  address_space::release(&cache, front_cache::bytes_for(cache.lanes));
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
