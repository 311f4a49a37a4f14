// SPDX-License-Identifier: Apache-2.0
//
// process: the list, the tags and the handlers of fork. What fork does to one pool is in fork.cpp.
#include "pool/process.hpp"

#include "cache/front_cache.hpp"
#include "pool/pool_core.hpp"
#include "system/asymmetric_barrier.hpp"

#include <pthread.h>

#include <atomic>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

struct pool_list {
  std::uint64_t used_tags = 1;  // bit t: tag t; tag 0 is never given
  unsigned serial = 0;
  pool_core* first = nullptr;
};
constinit std::mutex process_lock;
constinit pool_list pools;  // guarded by process_lock
constinit std::atomic<std::uint32_t> forking{0};
constinit thread_local bool this_thread_forks = false;

template <class F>
void for_each_pool(F&& f) noexcept {
  for (pool_core* pool = pools.first; pool != nullptr; pool = pool->next_in_process) {
    f(*pool);
  }
}

void end_fork() noexcept {
  this_thread_forks = false;
  forking.store(0, std::memory_order_seq_cst);
  process_lock.unlock();
  forking.notify_all();
}

void before_fork() noexcept {
  process_lock.lock();
  this_thread_forks = true;
  forking.store(1, std::memory_order_seq_cst);
  // An operation that is under way may begin others in other pools, and outlasts them: once each
  // pool was seen idle, all are.
  for_each_pool([](const pool_core& pool) { pool.wait_until_idle(); });
  for_each_pool([](pool_core& pool) { pool.pause_caches(); });
}

void after_fork_in_parent() noexcept {
  for_each_pool([](pool_core& pool) { pool.resume_caches(); });
  end_fork();
}

void after_fork_in_child() noexcept {
  const bool has_barrier = renew_asymmetric_barrier();
  // Tags of pools that vanished threads were making or destroying are free again.
  pools.used_tags = 1;
  for_each_pool([&](pool_core& pool) {
    pools.used_tags |= std::uint64_t{1} << pool.tag();
    pool.continue_in_child(has_barrier);
  });
  end_fork();
}

bool register_handlers() noexcept {
  static const bool registered =
      ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
  return registered;
}
// As early as can be: handlers registered first run last before fork, so that an application's own
// handlers take its locks, under which it may use pools, before pools stand still.
[[maybe_unused]] const bool registered_early = register_handlers();

}  // namespace

std::mutex& process_mutex() noexcept {
  return process_lock;
}

unsigned acquire_pool_tag() noexcept {
  const std::lock_guard lock(process_lock);
  for (unsigned tag = 1; tag <= tag_mask; ++tag) {
    if ((pools.used_tags >> tag & 1) == 0) {
      pools.used_tags |= std::uint64_t{1} << tag;
      return tag;
    }
  }
  return 0;
}

unsigned next_pool_serial() noexcept {
  const std::lock_guard lock(process_lock);
  return pools.serial++;
}

bool enlist(pool_core& pool) noexcept {
  if (!register_handlers()) {
    return false;
  }
  const std::lock_guard lock(process_lock);
  pool.next_in_process = pools.first;
  pools.first = &pool;
  return true;
}

void delist(pool_core& pool, unsigned tag) noexcept {
  const std::lock_guard lock(process_lock);
  for (pool_core** link = &pools.first; *link != nullptr; link = &(*link)->next_in_process) {
    if (*link == &pool) {
      *link = pool.next_in_process;
      break;
    }
  }
  pools.used_tags &= ~(std::uint64_t{1} << tag);
}

bool must_wait_for_fork() noexcept {
  return forking.load(std::memory_order_seq_cst) != 0 && !this_thread_forks;
}

void wait_for_fork() noexcept {
  forking.wait(1, std::memory_order_acquire);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
