// SPDX-License-Identifier: Apache-2.0
//
// this_thread: the front caches of the calling thread, one for each pool that it uses. It attaches
// the thread to pools and detaches it when it ends. Only slow paths use it.
//
// A front cache's memory belongs to its thread from the first use until the thread ends, even if
// its pool ends before. So the holder of the mutex of caches may read every cache in the list. The
// process mutex (process.hpp) orders ending threads against closing pools.
#pragma once

#include "pool/thread_caches.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Returns this thread's cache of the pool; the first call makes and registers it. Null: work
/// without a cache, because the thread is ending, the pool is closed or keeps nothing in threads,
/// or there is no memory.
[[nodiscard]] front_cache* attach_this_thread(thread_caches& pool) noexcept;
/// The system's number of the calling thread. Cost: a system call.
[[nodiscard]] std::uint64_t this_thread_number() noexcept;
/// Returns this thread's cache of the pool, or null if it has none.
[[nodiscard]] front_cache* find_this_thread(const thread_caches& pool) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
