// SPDX-License-Identifier: Apache-2.0
//
// The kernels of touch.hpp.
#include "touch.hpp"

namespace tidepool {
namespace test {

namespace {

__global__ void fill_words(unsigned* words, std::size_t n, unsigned value) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) {
    words[i] = value;
  }
}

__global__ void check_words(const unsigned* words, std::size_t n, unsigned value, unsigned* wrong) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n && words[i] != value) {
    atomicAdd(wrong, 1U);
  }
}

constexpr unsigned threads = 128;

unsigned blocks_for(std::size_t n) {
  return static_cast<unsigned>((n + threads - 1) / threads);
}

}  // namespace

void load_kernels() {
  cudaFuncAttributes about;
  static_cast<void>(cudaFuncGetAttributes(&about, fill_words));
  static_cast<void>(cudaFuncGetAttributes(&about, check_words));
}

void launch_fill(unsigned* words, std::size_t n, unsigned value, cudaStream_t stream) {
  fill_words<<<blocks_for(n), threads, 0, stream>>>(words, n, value);
}

void launch_check(const unsigned* words, std::size_t n, unsigned value, unsigned* wrong,
                  cudaStream_t stream) {
  check_words<<<blocks_for(n), threads, 0, stream>>>(words, n, value, wrong);
}

}  // namespace test
}  // namespace tidepool
