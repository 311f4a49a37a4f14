// SPDX-License-Identifier: Apache-2.0
//
// thread_caches: takes blocks back from all threads, from ending threads, and after fork.
#include "pool/thread_caches.hpp"

#include "system/address_space.hpp"

#include <algorithm>
#include <array>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

void thread_caches::remove(front_cache& cache) noexcept {
  list.remove(cache, [this](front_cache& ending) {
    drain(ending);
    below_.lanes.for_each(
        [&](lane& where) {
          const std::lock_guard counts_lock(where.mutex);
          ending.lane(where.number).for_each_used([&](unsigned size_class, magazine& m) {
            where.counts_of(size_class) += m.counts();
          });
        },
        ending.lanes);
    sampler.retire(ending.latency);
  });
}

void thread_caches::end_thread(front_cache& cache) noexcept {
  if (how_.on_thread_end != nullptr) {
    how_.on_thread_end(how_.context, cache.thread);
  }
  remove(cache);
}

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

// Empties the magazines of one lane, which may keep nothing from now on. Pre: the caller has the
// cache alone.
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
  cache_list::holder all(list);
  all.close();
  all.for_each([this](front_cache& cache) { drain(cache); });
}

void thread_caches::drain_idle() noexcept {
  cache_list::holder all(list);
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
  list.with_own(cache, *this, [this](front_cache& own) { drain(own); });
}

void thread_caches::remove_all() noexcept {
  while (front_cache* const cache = list.close_for_good()) {
    remove(*cache);
  }
}

void thread_caches::pass_all_gates() noexcept {
  cache_list::holder all(list);
  all.close();
}

std::uint64_t thread_caches::retire_lane(lane& gone) noexcept {
  std::uint64_t alive = 0;
  cache_list::holder all(list);
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

bool thread_caches::continue_in_child(front_cache* own, bool has_barrier) noexcept {
  const bool keeps_gate = list.continue_in_child(
      own, has_barrier, [this](front_cache& vanished) { inherit(vanished); });
  if (!keeps_gate) {
    gate_.reset();
  }
  return keeps_gate;
}

// Moves the blocks of a vanished thread to the ready lists and its counts to the lanes. It also
// releases the cache's own memory, which only that thread knew.
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
  sampler.retire(cache.latency);
  const std::size_t near = std::min(cache.lanes, most_cached_lanes);
  cache.release_chunks();
  address_space::release(&cache, front_cache::bytes_for(near));
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
