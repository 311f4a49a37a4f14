// SPDX-License-Identifier: Apache-2.0
//
// The kernels of kernels.hpp.
#include "kernels.hpp"

namespace tidepool {
namespace first_run {

namespace {

constexpr unsigned threads = 256;

__global__ void busy(long long nanoseconds) {
  unsigned long long begin = 0;
  unsigned long long now = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
  do {
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  } while (now - begin < static_cast<unsigned long long>(nanoseconds));
}

__global__ void count(const std::uint32_t* ids, std::uint32_t n, std::uint32_t* bins) {
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n;
       i += gridDim.x * blockDim.x) {
    atomicAdd(&bins[ids[i]], 1U);
  }
}

__global__ void count_in_shared(count_shared what) {
  extern __shared__ std::uint32_t own[];
  for (std::uint32_t i = threadIdx.x; i < what.bin_count; i += blockDim.x) {
    own[i] = 0;
  }
  __syncthreads();
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < what.n;
       i += gridDim.x * blockDim.x) {
    atomicAdd(&own[what.ids[i]], 1U);
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < what.bin_count; i += blockDim.x) {
    if (own[i] != 0) {
      atomicAdd(&what.bins[i], own[i]);
    }
  }
}

__global__ void late(unsigned* word) {
  *word = 1;
}

unsigned blocks_for(std::uint32_t n) {
  const unsigned needed = (n + threads - 1) / threads;
  return needed < 1024 ? needed : 1024;
}

}  // namespace

void launch_busy(unsigned milliseconds, cudaStream_t stream) {
  busy<<<1, 1, 0, stream>>>(static_cast<long long>(milliseconds) * 1000000);
}

void launch_count(const std::uint32_t* ids, std::uint32_t n, std::uint32_t* bins,
                  cudaStream_t stream) {
  count<<<blocks_for(n), threads, 0, stream>>>(ids, n, bins);
}

void launch_count_shared(const count_shared& what, cudaStream_t stream) {
  count_in_shared<<<blocks_for(what.n), threads, what.bin_count * sizeof(std::uint32_t), stream>>>(
      what);
}

void launch_late(unsigned* word, cudaStream_t stream) {
  late<<<1, 1, 0, stream>>>(word);
}

}  // namespace first_run
}  // namespace tidepool
