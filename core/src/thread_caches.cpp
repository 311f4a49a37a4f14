// SPDX-License-Identifier: Apache-2.0
//
// thread_caches: the thread's table, the sentinel, attach, and the end of a thread.
#include "thread_caches.hpp"

#include "address_space.hpp"
#include "pool_core.hpp"

#include <unistd.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// The caches of one thread with their memory. Ended by the thread's exit; `ended` outlives it.
struct owned_cache {
  address_space memory;
  front_cache* cache = nullptr;
};
class thread_state {
 public:
  thread_state() noexcept = default;
  thread_state(const thread_state&) = delete;
  thread_state& operator=(const thread_state&) = delete;
  ~thread_state();
  std::vector<owned_cache> caches;
};

constinit thread_local bool this_thread_ended = false;
thread_local thread_state this_thread;

thread_state::~thread_state() {
  this_thread_ended = true;
  for (const owned_cache& owned : caches) {
    const std::lock_guard lock(process_mutex());
    if (pool_core* const pool = owned.cache->owner.load(std::memory_order_relaxed)) {
      pool->unregister_cache(*owned.cache);
    }
  }
}

struct pool_tags {
  std::uint64_t used = 1;  // bit t: tag t; tag 0 is never given
  unsigned serial = 0;
};
constinit std::mutex process_lock;
constinit pool_tags tags;  // guarded by process_lock

}  // namespace

constinit sentinel_cache sentinel;
constinit thread_local way_table this_thread_ways;

std::mutex& process_mutex() noexcept {
  return process_lock;
}

front_cache* find_this_thread(pool_core& pool) noexcept {
  if (this_thread_ended) {
    return nullptr;
  }
  for (const owned_cache& owned : this_thread.caches) {
    if (owned.cache->owner.load(std::memory_order_relaxed) == &pool) {
      return owned.cache;
    }
  }
  return nullptr;
}

front_cache* attach_this_thread(pool_core& pool) noexcept {
  if (front_cache* const known = find_this_thread(pool)) {
    return known;
  }
  if (this_thread_ended || !pool.threads_keep_blocks()) {
    return nullptr;
  }
  const std::size_t bytes = front_cache::bytes_for(pool.cached_lanes());
  try {
    std::vector<owned_cache>& caches = this_thread.caches;
    // One that a closed pool left behind, or new memory.
    auto spare = std::find_if(caches.begin(), caches.end(), [&](const owned_cache& owned) {
      return owned.cache->owner.load(std::memory_order_acquire) == nullptr &&
             owned.memory.bytes() >= bytes;
    });
    if (spare == caches.end()) {
      caches.reserve(caches.size() + 1);
      owned_cache fresh{address_space::reserve(bytes), nullptr};
      if (!fresh.memory) {
        return nullptr;
      }
      fresh.cache = ::new (fresh.memory.data()) front_cache;
      caches.push_back(std::move(fresh));
      spare = std::prev(caches.end());
    } else if (!spare->memory.clear()) {
      return nullptr;
    } else {
      spare->cache = ::new (spare->memory.data()) front_cache;
    }
    front_cache& cache = *spare->cache;
    cache.lanes = pool.cached_lanes();
    cache.thread = static_cast<std::uint64_t>(::gettid());
    cache.home = pool.has_way() ? &way_at(pool.way) : nullptr;
    return pool.register_cache(cache) ? &cache : nullptr;
  } catch (const std::exception&) {
    return nullptr;
  }
}

unsigned acquire_pool_tag() noexcept {
  const std::lock_guard lock(process_lock);
  for (unsigned tag = 1; tag <= tag_mask; ++tag) {
    if ((tags.used >> tag & 1) == 0) {
      tags.used |= std::uint64_t{1} << tag;
      return tag;
    }
  }
  return 0;
}

void release_pool_tag(unsigned tag) noexcept {
  const std::lock_guard lock(process_lock);
  tags.used &= ~(std::uint64_t{1} << tag);
}

unsigned next_pool_serial() noexcept {
  const std::lock_guard lock(process_lock);
  return tags.serial++;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
