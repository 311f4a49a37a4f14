// SPDX-License-Identifier: Apache-2.0
//
// prewarm_plan: a list of blocks to make ready before the work begins. The pool takes no memory in
// advance unless a plan is given to pool_control::prewarm.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/export.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace tidepool {
inline namespace v0 {

/// `count` free blocks that serve requests up to `bytes` bytes.
struct prewarm_item {
  std::size_t bytes = 0;
  std::size_t count = 0;
  friend constexpr bool operator==(const prewarm_item&, const prewarm_item&) = default;
};

struct prewarm_plan {
  std::vector<prewarm_item> items;
  device where = {};
  bool populate = true;  ///< touch every page now, so that no page fault comes later
  unsigned threads = 0;  ///< threads that populate; 0: as many as the machine has, at most 8

  /// The seed system's plan: 256/128/64/32/16 blocks of 4 KiB/64 KiB/512 KiB/4 MiB/32 MiB; 681 MiB.
  [[nodiscard]] TIDEPOOL_EXPORT static prewarm_plan seed(device where = {});

  /// Makes a plan from a stream of allocations and frees: for each size class, the most blocks that
  /// were alive at once. Pass the sizes in order, +bytes for an allocation and -bytes for its free.
  [[nodiscard]] TIDEPOOL_EXPORT static prewarm_plan from_sizes(
      std::span<const std::ptrdiff_t> events, device where = {});

  /// Sum of count * bytes, bytes rounded to size classes; saturates.
  [[nodiscard]] TIDEPOOL_EXPORT std::size_t total_bytes() const noexcept;
};

/// The result of prewarm. populated_bytes is 0 if the backend cannot populate.
struct prewarm_report {
  std::size_t blocks = 0;
  std::size_t bytes = 0;
  std::size_t populated_bytes = 0;
};

}  // namespace v0
}  // namespace tidepool
