// SPDX-License-Identifier: Apache-2.0
//
// process: the state that all pools of a process share: one mutex, the pool tags, and whether the
// process is being forked. Beside it there are only each thread's own table and the list of pools
// (pool_list.cpp).
//
// Thread safety: every function from any thread, unless its comment says otherwise.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Guards front_cache::owner of all caches, the pool tags and the list of pools. It orders ending
/// threads, closing pools and fork. A thread takes it before any lock of a pool, and never within
/// an operation that counts as under way.
[[nodiscard]] std::mutex& process_mutex() noexcept;

/// Takes the lowest free pool tag, 1..63, which no other live pool has; 0 when all are taken.
[[nodiscard]] unsigned acquire_pool_tag() noexcept;
void release_pool_tag(unsigned tag) noexcept;
/// Makes these the only taken tags. Pre: process_mutex is held.
void set_pool_tags(std::uint64_t tags) noexcept;
/// Returns how many pools were made before.
[[nodiscard]] unsigned next_pool_serial() noexcept;

/// Between these two calls, operations of other threads wait before they begin. Pre: process_mutex
/// is held, and the calling thread is the one that forks.
void begin_fork() noexcept;
void end_fork() noexcept;
extern constinit std::atomic<std::uint32_t> forking;  // 1 between the two
extern constinit thread_local bool this_thread_forks;
/// Must an operation that begins now wait? Operations of the forking thread need not. The load is
/// sequentially consistent.
[[nodiscard]] inline bool must_wait_for_fork() noexcept {
  return forking.load(std::memory_order_seq_cst) != 0 && !this_thread_forks;
}
void wait_for_fork() noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
