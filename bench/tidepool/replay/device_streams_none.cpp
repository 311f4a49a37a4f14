// SPDX-License-Identifier: Apache-2.0
//
// Streams in a build without CUDA: none.
#include "tidepool/replay/device_streams.hpp"

namespace tidepool::bench {

result<stream_ref> make_device_stream(device where) noexcept {
  return status{.code = errc::backend_unavailable,
                .where = where,
                .text = "built without CUDA: there are no streams"};
}

void destroy_device_stream(const stream_ref&) noexcept {}

}  // namespace tidepool::bench
