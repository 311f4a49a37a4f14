// SPDX-License-Identifier: Apache-2.0
//
// this_thread: the front caches of the calling thread, one for each pool that it uses: attaching to
// a pool, and the end of the thread. Slow paths only.
//
// A front cache's memory belongs to its thread from the first use until the thread ends, whatever
// becomes of pools meanwhile, so whoever holds the mutex of caches may look at it. The process
// mutex (process.hpp) orders ending threads against closing pools.
#pragma once

#include "pool/thread_caches.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

/// This thread's cache of the pool, made and registered on first use. Null: the thread is ending,
/// the pool is closed or keeps nothing in threads, or there is no memory: work without a cache.
[[nodiscard]] front_cache* attach_this_thread(thread_caches& pool) noexcept;
/// The system's number of the calling thread. Cost: a system call.
[[nodiscard]] std::uint64_t this_thread_number() noexcept;
/// This thread's cache of the pool if it has one.
[[nodiscard]] front_cache* find_this_thread(const thread_caches& pool) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
