// SPDX-License-Identifier: Apache-2.0
//
// Streams of GPUs, made and destroyed without a CUDA header. A build has one implementation of the
// two: device_streams_cuda.cpp with a toolkit, device_streams_none.cpp without.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>

namespace tidepool::bench {

/// A stream that does not wait for the default one, of the GPU that `where` belongs to: GPU 0 for
/// pinned memory of a NUMA node. Errors: driver_error; backend_unavailable in a build without
/// CUDA. Any thread.
[[nodiscard]] result<stream_ref> make_device_stream(device where) noexcept;
/// Pre: of make_device_stream, and no pool refers to it.
void destroy_device_stream(const stream_ref& stream) noexcept;

}  // namespace tidepool::bench
