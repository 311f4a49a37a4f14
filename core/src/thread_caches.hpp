// SPDX-License-Identifier: Apache-2.0
//
// Which thread has which front caches: attaching a thread to a pool, and both ways of parting: the
// thread ends, or the pool closes. Slow paths only.
//
// A front cache's memory belongs to its thread from the first use until the thread ends, whatever
// becomes of pools meanwhile, so whoever holds the registry mutex may look at it. `process_mutex`
// orders ending threads against closing pools; it is taken before any pool's registry mutex.
#pragma once

#include "front_cache.hpp"

#include <cstddef>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Guards front_cache::owner of all caches, and the pool tags. The only process-wide lock.
[[nodiscard]] std::mutex& process_mutex() noexcept;

/// This thread's cache of the pool, made and registered on first use. Null: the thread is ending,
/// the pool is closed or keeps nothing in threads, or there is no memory: work without a cache.
[[nodiscard]] front_cache* attach_this_thread(pool_core& pool) noexcept;
/// This thread's cache of the pool if it has one.
[[nodiscard]] front_cache* find_this_thread(pool_core& pool) noexcept;

/// Pool tags, 1..63, unique among live pools, the lowest free first; 0 when all are taken.
[[nodiscard]] unsigned acquire_pool_tag() noexcept;
void release_pool_tag(unsigned tag) noexcept;
/// A number per pool ever made, from 0.
[[nodiscard]] unsigned next_pool_serial() noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
