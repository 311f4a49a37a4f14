// SPDX-License-Identifier: Apache-2.0
//
// How long the simulator takes to sort with CUB: user time, as the machine may be busy with other
// things. sort_speed [keys] [runs] prints one line for each run; the first one decodes the kernels
// too. What it says is of the simulator and never of a GPU.
#include <cub/cub.cuh>
#include <cudasim.h>

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

namespace {

double user_seconds() {
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec) + 1e-6 * used.ru_utime.tv_usec;
}

void require(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    std::fprintf(stderr, "sort_speed: %s: %s\n", what, cudaGetErrorName(error));
    std::exit(1);
  }
}

double instructions_in_millions() {
  constexpr double per_million = 1e-6;
  return cudasim_is_present() ? per_million * cudasim_get_kernel_counts(nullptr).thread_instructions
                              : 0;
}

void sort(const std::vector<std::uint32_t>& keys, int runs) {
  const int n = static_cast<int>(keys.size());
  std::vector<std::uint32_t> sorted(n);
  std::uint32_t* in = nullptr;
  std::uint32_t* out = nullptr;
  void* scratch = nullptr;
  std::size_t bytes = 0;
  require(cub::DeviceRadixSort::SortKeys(nullptr, bytes, in, out, n), "size");
  require(cudaMalloc(&in, n * sizeof *in), "allocate");
  require(cudaMalloc(&out, n * sizeof *out), "allocate");
  require(cudaMalloc(&scratch, bytes), "allocate");
  require(cudaMemcpy(in, keys.data(), n * sizeof *in, cudaMemcpyHostToDevice), "copy");
  for (int run = 0; run != runs; ++run) {
    const double begin = user_seconds();
    const double instructions = instructions_in_millions();
    require(cub::DeviceRadixSort::SortKeys(scratch, bytes, in, out, n), "sort");
    require(cudaDeviceSynchronize(), "synchronise");
    std::printf("%d keys, run %d: %.3f s of user time, %.0f M thread-instructions\n", n, run,
                user_seconds() - begin, instructions_in_millions() - instructions);
  }
  require(cudaMemcpy(sorted.data(), out, n * sizeof *out, cudaMemcpyDeviceToHost), "copy");
  require(cudaFree(scratch), "free");
  require(cudaFree(out), "free");
  require(cudaFree(in), "free");
  std::vector<std::uint32_t> expected = keys;
  std::sort(expected.begin(), expected.end());
  if (sorted != expected) {
    std::fprintf(stderr, "sort_speed: not sorted\n");
    std::exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int n = argc > 1 ? std::atoi(argv[1]) : 1000000;
  const int runs = argc > 2 ? std::atoi(argv[2]) : 4;
  if (n <= 0 || runs <= 0) {
    std::fprintf(stderr, "usage: sort_speed [keys] [runs]\n");
    return 2;
  }
  std::mt19937 random(1);
  std::vector<std::uint32_t> keys(n);
  for (std::uint32_t& key : keys) {
    key = random();
  }
  sort(keys, runs);
}
