// SPDX-License-Identifier: Apache-2.0
//
// Streams of stream-ordered devices: each is a lane of its own, within which blocks are reused
// without waiting. Devices that are not stream-ordered have one lane, and streams mean nothing to
// them.
#include "pool_core.hpp"
#include <tidepool/pool.hpp>

#include <exception>

namespace tidepool {
inline namespace v0 {
namespace detail {

result<stream_ref> pool_core::attach(device where, stream_ref stream) noexcept {
  const use guard(*this);
  device_entry* const entry = find_device(where);
  if (entry == nullptr) {
    return status{.code = errc::unknown_device, .where = where};
  }
  if (!entry->description.stream_ordered || stream.is_none()) {
    stream.number = 0;
    return stream;
  }
  const std::lock_guard lock(registry_mutex_);
  stream.number = 0;
  if (const lane* const known = find_lane(where, stream)) {
    stream.number = known->number;
    return stream;
  }
  const std::size_t number = lane_count_.load(std::memory_order_relaxed);
  if (number == most_lanes) {
    return status{.code = errc::too_many, .where = where, .text = "4096 streams are attached"};
  }
  try {
    auto made = std::make_unique<lane>();
    made->device = entry;
    made->stream = stream;
    made->stream.number = static_cast<std::uint32_t>(number);
    made->number = static_cast<std::uint16_t>(number);
    stream.number = made->stream.number;
    lanes_[number].store(made.release(), std::memory_order_release);
    lane_count_.store(number + 1, std::memory_order_release);
    return stream;
  } catch (const std::exception&) {
    return status{.code = errc::out_of_memory, .where = where, .text = "attaching a stream"};
  }
}

errc pool_core::retire(device where, const stream_ref& stream) noexcept {
  const use guard(*this);
  device_entry* const entry = find_device(where);
  if (entry == nullptr) {
    return errc::unknown_device;
  }
  if (!entry->description.stream_ordered || stream.is_none()) {
    return errc::ok;
  }
  if (find_lane(where, stream) == nullptr) {
    return errc::not_found;
  }
  // Blocks freed on the stream go back while it still exists.
  recall(true);
  return errc::ok;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
