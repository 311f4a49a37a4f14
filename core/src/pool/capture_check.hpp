// SPDX-License-Identifier: Apache-2.0
//
// Checked builds (TIDEPOOL_ASSERT_LEVEL >= 2) ask at every allocation on a stream whether the
// stream is being captured. Memory that was free before the capture would be used by the graph at
// each launch, and by another tensor in between. Other builds notice only when they ask the backend
// for memory. Thread safety: that of pool_core.
#pragma once

#include "pool/pool_core.hpp"
#include <tidepool/assert.hpp>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Is the stream being captured, in a scope or not? Other builds always answer false.
[[nodiscard]] inline bool is_seen_capturing(const device_entry& device,
                                            const stream_ref& stream) noexcept {
  if constexpr (TIDEPOOL_ASSERT_LEVEL >= 2) {
    return device.description.stream_ordered && !device.is_for_host() &&
           device.source->is_capturing(device.where, stream);
  }
  return false;
}

[[nodiscard]] inline bool is_seen_capturing(pool_core& core, std::uint32_t device_bits,
                                            const stream_ref& stream) noexcept {
  if constexpr (TIDEPOOL_ASSERT_LEVEL >= 2) {
    const device_entry* const device = core.lanes.find(device::from_bits(device_bits));
    return device != nullptr && is_seen_capturing(*device, stream);
  }
  return false;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
