// SPDX-License-Identifier: Apache-2.0
//
// Requests to pool::copy and pool::advise. Plain values.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/ids.hpp>
#include <tidepool/stream.hpp>

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {

/// Bytes [src_offset, src_offset + bytes) of one tensor to [dst_offset, ...) of another.
struct copy_request {
  tensor_id dst = {};
  tensor_id src = {};
  std::size_t dst_offset = 0;
  std::size_t src_offset = 0;
  std::size_t bytes = SIZE_MAX;  ///< SIZE_MAX: all from src_offset on
  stream_ref stream = {};        ///< none: the default stream of the device concerned
};

/// How managed memory will be used. Each advice can be taken back.
enum class memory_advice : std::uint8_t {
  read_mostly = 0,         ///< the driver may keep copies on the devices that read it
  preferred_location = 1,  ///< stays on the device while it can
  accessed_by = 2,         ///< the device keeps it mapped
};
struct advice_request {
  memory_advice what = memory_advice::read_mostly;
  device of = {};          ///< the device concerned, device::cpu() for the host
  bool take_back = false;  ///< withdraws the advice
};

}  // namespace v0
}  // namespace tidepool
