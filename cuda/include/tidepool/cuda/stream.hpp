// SPDX-License-Identifier: Apache-2.0
//
// A stream_ref for a cudaStream_t. The one public header that needs CUDA's: include it where streams
// are at hand.
#pragma once

#include <tidepool/stream.hpp>

#include <cuda_runtime_api.h>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// The stream as tidepool knows it. The null stream is the legacy default stream, or the thread's
/// own one in code compiled with --default-stream per-thread, as for every CUDA call.
[[nodiscard]] inline stream_ref stream(cudaStream_t handle) noexcept {
#ifdef CUDA_API_PER_THREAD_DEFAULT_STREAM
  if (handle == nullptr) {
    handle = cudaStreamPerThread;
  }
#endif
  if (handle == nullptr || handle == cudaStreamLegacy) {
    return {.handle = nullptr, .kind = stream_kind::legacy};
  }
  if (handle == cudaStreamPerThread) {
    return {.handle = handle, .kind = stream_kind::per_thread};
  }
  return {.handle = handle, .kind = stream_kind::ordinary};
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
