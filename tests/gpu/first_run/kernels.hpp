// SPDX-License-Identifier: Apache-2.0
//
// Kernels of probes. Those that fill and check memory are in tests/cuda/touch.hpp.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace tidepool::first_run {

/// Keeps the stream busy for about so many milliseconds. Not on the simulator.
void launch_busy(unsigned milliseconds, cudaStream_t stream);
/// One addition for each id: bins[id] += 1.
void launch_count(const std::uint32_t* ids, std::uint32_t n, std::uint32_t* bins,
                  cudaStream_t stream);
/// The same through shared memory; bin_count <= 4096.
struct count_shared {
  const std::uint32_t* ids;
  std::uint32_t n;
  std::uint32_t* bins;
  std::uint32_t bin_count;
};
void launch_count_shared(const count_shared& what, cudaStream_t stream);
/// A kernel that no other function launches.
void launch_late(unsigned* word, cudaStream_t stream);

}  // namespace tidepool::first_run
