// SPDX-License-Identifier: Apache-2.0
//
// this_thread: the table of gates, the sentinel, and attaching and ending threads.
#include "pool/this_thread.hpp"

#include "pool/process.hpp"
#include "system/address_space.hpp"
#include <tidepool/support/thread_end.hpp>

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// The caches of one thread with their memory. The thread's exit ends it; `ended` outlives it.
struct owned_cache {
  address_space memory;
  front_cache* cache = nullptr;
};
class thread_state {
 public:
  thread_state() noexcept = default;
  thread_state(const thread_state&) = delete;
  thread_state& operator=(const thread_state&) = delete;
  ~thread_state() { end(); }
  /// Gives the blocks of all caches to their pools. The thread works without caches afterwards.
  void end() noexcept;
  /// Makes the exit of the thread call end.
  void watch_thread() noexcept;
  std::vector<owned_cache> caches;

 private:
  bool watched_ = false;
};

constinit thread_local bool this_thread_ended = false;
thread_local thread_state this_thread;

// Destructors of pthread keys run after those of thread-local objects. If such a destructor is the
// thread's first use of a pool, the destructor of this_thread would not run any more, so a key of
// our own ends it. The key's value is set only while the destructor of this_thread is pending,
// which keeps a shared library loaded.
struct end_key {
  end_key() noexcept : made(::pthread_key_create(&key, [](void*) { this_thread.end(); }) == 0) {}
  ::pthread_key_t key{};
  const bool made;
};
const end_key& key_of_end() noexcept {
  static const end_key only;
  return only;
}

void thread_state::watch_thread() noexcept {
  if (!watched_ && key_of_end().made) {
    watched_ = ::pthread_setspecific(key_of_end().key, this) == 0;
  }
}

void thread_state::end() noexcept {
  this_thread_ended = true;
  if (watched_) {
    watched_ = false;
    (void)::pthread_setspecific(key_of_end().key, nullptr);
  }
  for (const owned_cache& owned : caches) {
    const std::lock_guard lock(process_mutex());
    if (thread_caches* const owner = owned.cache->owner.load(std::memory_order_relaxed)) {
      owner->end_thread(*owned.cache);
    }
    owned.cache->release_chunks();
  }
  std::vector<owned_cache>().swap(caches);
}

}  // namespace

void front_cache::release_chunks() noexcept {
  for (lane_front*& chunk : chunks) {
    if (chunk != nullptr) {
      address_space::release(std::exchange(chunk, nullptr), lanes_in_chunk * sizeof(lane_front));
    }
  }
}

constinit sentinel_cache sentinel;
constinit sentinel_cache sample_sentinel;
constinit thread_local gate_table this_thread_gates;

}  // namespace detail

bool support::this_thread_ends() noexcept {
  return detail::this_thread_ended;
}

namespace detail {

std::uint64_t this_thread_number() noexcept {
  return static_cast<std::uint64_t>(::gettid());
}

front_cache* find_this_thread(const thread_caches& pool) noexcept {
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

front_cache* attach_this_thread(thread_caches& pool) noexcept {
  if (front_cache* const known = find_this_thread(pool)) {
    return known;
  }
  if (this_thread_ended || !pool.keep_blocks()) {
    return nullptr;
  }
  const std::size_t near = std::min(pool.lane_count(), most_cached_lanes);
  const std::size_t bytes = front_cache::bytes_for(near);
  try {
    std::vector<owned_cache>& caches = this_thread.caches;
    // Takes a cache that a closed pool left behind, or new memory.
    auto spare = std::find_if(caches.begin(), caches.end(), [&](const owned_cache& owned) {
      return owned.cache->owner.load(std::memory_order_acquire) == nullptr &&
             owned.memory.bytes() >= bytes;
    });
    if (spare != caches.end()) {
      spare->cache->release_chunks();
    }
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
    this_thread.watch_thread();
    front_cache& cache = *spare->cache;
    cache.lanes = near;
    cache.thread = this_thread_number();
    cache.gate = pool.gate() ? &gate_at(*pool.gate()) : nullptr;
    return pool.list.add(cache, pool) ? &cache : nullptr;
  } catch (const std::exception&) {
    return nullptr;
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
