// SPDX-License-Identifier: Apache-2.0
//
// Checked builds (TIDEPOOL_ASSERT_LEVEL >= 2) ask two questions at every allocation on a stream.
// Thread safety: that of pool_core.
// - Is the stream being captured? Memory that was free before the capture would be used by the
//   graph at each launch, and by another tensor in between.
// - Is the handle still that of the stream that the pool knows? A driver gives the handle of a
//   destroyed stream to a new one, whose work would use the old one's memory without an order.
// Other builds notice the former only when they ask the backend for memory, and the latter when the
// backend records an event.
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

/// Was the lane's stream destroyed without retire, and is its handle another stream's? Other builds
/// always answer false.
[[nodiscard]] inline bool is_seen_recycled(const lane& known, const stream_ref& stream) noexcept {
  if constexpr (TIDEPOOL_ASSERT_LEVEL >= 2) {
    const device_entry& device = *known.device;
    if (stream.kind == stream_kind::ordinary && !is_seen_capturing(device, stream)) {
      return device.source->is_recycled(device.where, stream,
                                        known.stream_id.load(std::memory_order_relaxed));
    }
  }
  return false;
}

[[nodiscard]] inline bool is_seen_recycled(pool_core& core, std::uint32_t device_bits,
                                           const stream_ref& stream) noexcept {
  if constexpr (TIDEPOOL_ASSERT_LEVEL >= 2) {
    const device_entry* const device = core.lanes.find(device::from_bits(device_bits));
    const lane* const known =
        device == nullptr ? nullptr : core.lanes.find_open(*device, stream, 0);
    return known != nullptr && is_seen_recycled(*known, stream);
  }
  return false;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
