// SPDX-License-Identifier: Apache-2.0
//
// Limits of reserved bytes, and what a reclaim handler (options.hpp) is asked when memory runs out.
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
  /// Never passed: allocations fail instead, but not before every cache of every thread was taken
  /// back, free memory was returned to the system and the reclaim handler had nothing left to give.
  std::size_t hard = SIZE_MAX;
  /// Passed only when all that was tried first. Each growth beyond it pays for it again.
  std::size_t soft = SIZE_MAX;
};

/// Why memory is asked for.
enum class pressure : std::uint8_t {
  soft_limit = 0,  ///< an allocation will succeed in any case, but beyond a soft limit
  hard_limit = 1,  ///< it will fail unless something is given up: a hard limit
  exhausted = 2,   ///< it will fail unless something is given up: the device or system has no more
};

struct reclaim_request {
  pressure why = pressure::hard_limit;
  device where = {};
  std::size_t bytes = 0;  ///< what the allocation needs
  unsigned round = 0;     ///< 0 for the first call of this allocation, then 1, 2, ...
  /// Tensors of the device whose end would return memory, the best ones to give up first: lowest
  /// eviction priority of their category, then inactive before others, then the largest. At most
  /// 64; none that is pinned, shared, a slice or of a category with priority 255. They may end
  /// meanwhile: their ids say so.
  std::span<const tensor_info> candidates;
};

}  // namespace v0
}  // namespace tidepool
