// SPDX-License-Identifier: Apache-2.0
//
// process: what all pools of a process share: one mutex, the pool tags, the list of pools, and what
// fork asks of them. The only process-wide state besides each thread's own table.
//
// fork: the forking thread lets no slow operation of any pool begin, waits until those under way
// are over or in a callback, and closes the gates of all front caches. So no lock is held and no
// block is between two places when the process is copied, and nothing need be rebuilt in the child.
#pragma once

#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

class pool_core;

/// Guards front_cache::owner of all caches, the pool tags and the list of pools. Orders ending
/// threads, closing pools and fork. It is taken before any lock of a pool, and never within an
/// operation that counts as under way.
[[nodiscard]] std::mutex& process_mutex() noexcept;

/// Pool tags, 1..63, unique among live pools, the lowest free first; 0 when all are taken.
[[nodiscard]] unsigned acquire_pool_tag() noexcept;
/// A number per pool ever made, from 0.
[[nodiscard]] unsigned next_pool_serial() noexcept;
/// From here on fork looks after the pool. False: the system has no room for its handlers.
[[nodiscard]] bool enlist(pool_core& pool) noexcept;
/// The end of enlist, if it was called, and of acquire_pool_tag.
void delist(pool_core& pool, unsigned tag) noexcept;

/// Must an operation that begins now wait? Not in the thread that forks. Sequentially consistent.
[[nodiscard]] bool must_wait_for_fork() noexcept;
void wait_for_fork() noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
