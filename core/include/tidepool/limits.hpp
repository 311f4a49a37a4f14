// SPDX-License-Identifier: Apache-2.0
//
// Limits of reserved bytes, and the request to a reclaim handler (options.hpp) when memory runs
// out.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/info.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace tidepool {
inline namespace v0 {

/// Bounds of reserved bytes, everything cached included, of a device or of a whole pool.
struct memory_limits {
  /// The pool never passes it; allocations fail instead. Before one fails, the pool has taken back
  /// the caches of all threads, returned free memory to the system, and asked the reclaim handler
  /// until it freed nothing more.
  std::size_t hard = SIZE_MAX;
  /// The pool passes it only after it has tried all of this. Each growth beyond it tries again, at
  /// the same cost.
  std::size_t soft = SIZE_MAX;
};

/// The reason why the pool asks for memory.
enum class pressure : std::uint8_t {
  soft_limit = 0,  ///< an allocation will succeed in any case, but beyond a soft limit
  hard_limit = 1,  ///< an allocation will fail at a hard limit unless tensors are freed
  exhausted = 2,   ///< it will fail unless tensors are freed, as the device or system has no more
};

struct reclaim_request {
  pressure why = pressure::hard_limit;
  device where = {};
  std::size_t bytes = 0;  ///< what the allocation needs
  unsigned round = 0;     ///< 0 for the first call of this allocation, then 1, 2, ...
  /// Tensors of the device whose end would return memory, at most 64, the best ones first. They are
  /// ordered by the eviction priority of their category, lowest first; then inactive tensors come
  /// before others, then larger ones before smaller. None is pinned, shared, a slice or of a
  /// category with priority 255. A tensor may end meanwhile; its id is stale then.
  std::span<const tensor_info> candidates;
};

}  // namespace v0
}  // namespace tidepool
