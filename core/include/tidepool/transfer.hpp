// SPDX-License-Identifier: Apache-2.0
//
// What pool::copy is asked for. Plain values.
#pragma once

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

}  // namespace v0
}  // namespace tidepool
