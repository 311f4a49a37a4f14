// SPDX-License-Identifier: Apache-2.0
//
// pool_list: the pools of the process, for fork alone, and the handlers of fork that go through
// them. What fork does to one pool is in fork.cpp.
//
// fork: the forking thread lets no slow operation of any pool begin, waits until those under way
// are over or in a callback, and closes the gates of all front caches. So no lock is held and no
// block is between two places when the process is copied, and nothing need be rebuilt in the child.
//
// Thread safety: both functions from any thread; they take the process mutex.
#pragma once

namespace tidepool {
inline namespace v0 {
namespace detail {

class pool_core;

/// From here on fork looks after the pool. False: the system has no room for its handlers.
[[nodiscard]] bool enlist(pool_core& pool) noexcept;
/// The end of enlist, if it was called.
void delist(const pool_core& pool) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
