// SPDX-License-Identifier: Apache-2.0
//
// Which thread has which front caches: attaching a thread to a pool, and both ways of parting: the
// thread ends, or the pool closes. Slow paths only.
//
// A front cache's memory belongs to its thread from the first use until the thread ends, whatever
// becomes of pools meanwhile, so whoever holds the registry mutex may look at it. The process mutex
// (process.hpp) orders ending threads against closing pools.
#pragma once

#include "cache/front_cache.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

/// This thread's cache of the pool, made and registered on first use. Null: the thread is ending,
/// the pool is closed or keeps nothing in threads, or there is no memory: work without a cache.
[[nodiscard]] front_cache* attach_this_thread(pool_core& pool) noexcept;
/// The system's number of the calling thread. Cost: a system call.
[[nodiscard]] std::uint64_t this_thread_number() noexcept;
/// This thread's cache of the pool if it has one.
[[nodiscard]] front_cache* find_this_thread(pool_core& pool) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
