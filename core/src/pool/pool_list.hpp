// SPDX-License-Identifier: Apache-2.0
//
// pool_list: the list of all pools of the process, and the handlers of fork, which walk it. Only
// fork uses the list; fork.cpp has the steps of one pool.
//
// fork: the forking thread lets no slow operation of any pool begin, waits until all operations
// under way have ended or are in a callback, and closes the gates of all front caches. So no lock
// is held and no block is between two places when the process is copied, and the child need not
// rebuild anything.
//
// Thread safety: any thread may call both functions; they take the process mutex.
#pragma once

namespace tidepool {
inline namespace v0 {
namespace detail {

class pool_core;

/// Adds a pool to the list, so that fork treats it. False: the system has no room for the handlers.
[[nodiscard]] bool enlist(pool_core& pool) noexcept;
/// Removes a pool from the list, if it is there.
void delist(const pool_core& pool) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
