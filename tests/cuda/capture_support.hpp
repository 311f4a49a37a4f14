// SPDX-License-Identifier: Apache-2.0
//
// What tests of captures share.
#pragma once

#include "pool_support.hpp"
#include <tidepool/graph.hpp>

namespace tidepool::test {

class CudaCapture : public CudaPool {
 protected:
  [[nodiscard]] static bool is_sound(cudaStream_t stream) {
    cudaStreamCaptureStatus now = cudaStreamCaptureStatusNone;
    return cudaStreamIsCapturing(stream, &now) == cudaSuccess &&
           now == cudaStreamCaptureStatusActive;
  }
  static void replay_twice(cudaGraph_t graph, cudaStream_t stream) {
    cudaGraphExec_t exec = nullptr;
    expect_success(cudaGraphInstantiate(&exec, graph, 0));
    expect_success(cudaGraphLaunch(exec, stream));
    expect_success(cudaGraphLaunch(exec, stream));
    expect_success(cudaStreamSynchronize(stream));
    expect_success(cudaGraphExecDestroy(exec));
    expect_success(cudaGraphDestroy(graph));
  }
};

}  // namespace tidepool::test
