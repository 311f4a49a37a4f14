// SPDX-License-Identifier: Apache-2.0
//
// Streams by the CUDA runtime.
#include "tidepool/replay/device_streams.hpp"
#include <tidepool/cuda/stream.hpp>

#include <cuda_runtime_api.h>

namespace tidepool::bench {
namespace {

status failure(cudaError_t error, device where) noexcept {
  return {.code = errc::driver_error,
          .native = error,
          .where = where,
          .text = "making a stream for the replay"};
}

}  // namespace

result<stream_ref> make_device_stream(device where) noexcept {
  // A stream is made on the calling thread's GPU, which stays as it was.
  int before = 0;
  if (const cudaError_t error = cudaGetDevice(&before); error != cudaSuccess) {
    return failure(error, where);
  }
  if (const cudaError_t error = cudaSetDevice(where.ordinal()); error != cudaSuccess) {
    return failure(error, where);
  }
  cudaStream_t made = nullptr;
  const cudaError_t error = cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking);
  (void)cudaSetDevice(before);
  if (error != cudaSuccess) {
    return failure(error, where);
  }
  return cuda::stream(made);
}

void destroy_device_stream(const stream_ref& stream) noexcept {
  (void)cudaStreamDestroy(static_cast<cudaStream_t>(stream.handle));
}

}  // namespace tidepool::bench
