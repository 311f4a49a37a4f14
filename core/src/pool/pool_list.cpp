// SPDX-License-Identifier: Apache-2.0
//
// pool_list: the list and the handlers of fork.
#include "pool/pool_list.hpp"

#include "pool/pool_core.hpp"
#include "pool/process.hpp"
#include "system/asymmetric_barrier.hpp"

#include <pthread.h>

#include <cstdint>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

constinit pool_core* first_pool = nullptr;  // guarded by the process mutex

template <class F>
void for_each_pool(F&& f) noexcept {
  for (pool_core* pool = first_pool; pool != nullptr; pool = pool->next_in_process) {
    f(*pool);
  }
}

void before_fork() noexcept {
  process_mutex().lock();
  begin_fork();
  // An operation under way may begin operations in other pools, but it ends after them. So once
  // each pool was seen idle in turn, all pools are idle.
  for_each_pool([](const pool_core& pool) { pool.operations.wait_until_idle(); });
  for_each_pool([](pool_core& pool) { pool.pause_for_fork(); });
}

void go_on() noexcept {
  end_fork();
  process_mutex().unlock();
}

void after_fork_in_parent() noexcept {
  for_each_pool([](pool_core& pool) { pool.resume_after_fork(); });
  go_on();
}

void after_fork_in_child() noexcept {
  const bool has_barrier = renew_asymmetric_barrier();
  // This frees the tags of pools that vanished threads were making or destroying.
  std::uint64_t tags = 0;
  for_each_pool([&](pool_core& pool) {
    tags |= std::uint64_t{1} << pool.directory.slots.pool_tag();
    pool.continue_in_child(has_barrier);
  });
  set_pool_tags(tags);
  go_on();
}

bool register_handlers() noexcept {
  static const bool registered =
      ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
  return registered;
}
// Registers as early as possible, because handlers that were registered first run last before fork.
// An application may use pools under its own locks, so its handlers must take these locks before
// pools stand still.
[[maybe_unused]] const bool registered_early = register_handlers();

}  // namespace

bool enlist(pool_core& pool) noexcept {
  if (!register_handlers()) {
    return false;
  }
  const std::lock_guard lock(process_mutex());
  pool.next_in_process = first_pool;
  first_pool = &pool;
  return true;
}

void delist(const pool_core& pool) noexcept {
  const std::lock_guard lock(process_mutex());
  for (pool_core** link = &first_pool; *link != nullptr; link = &(*link)->next_in_process) {
    if (*link == &pool) {
      *link = pool.next_in_process;
      break;
    }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
