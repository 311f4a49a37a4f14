// SPDX-License-Identifier: Apache-2.0
//
// A program built with --default-stream per-thread: the null stream of each thread is its own, so
// two threads' work has no order unless they say so.
#include "support.cuh"

#include <atomic>
#include <thread>

namespace {

__global__ void add(int* p, int value) {
  *p += value;
}

TEST(PerThread, EachThreadHasItsNullStream) {
  unsigned long long mine = 0;
  unsigned long long legacy = 0;
  expect_success(cudaStreamGetId(nullptr, &mine), "id");
  expect_success(cudaStreamGetId(cudaStreamLegacy, &legacy), "id");
  EXPECT_NE(mine, legacy);
}

TEST(PerThread, WorkOfOneThreadIsInOrder) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      int* p = nullptr;
      int value = 1;
      expect_success(cudaMallocAsync(&p, sizeof *p, nullptr), "allocate");
      expect_success(cudaMemcpyAsync(p, &value, sizeof value, cudaMemcpyHostToDevice), "copy");
      for (int i = 0; i < 10; ++i) {
        add<<<1, 1>>>(p, t);
      }
      expect_success(cudaMemcpy(&value, p, sizeof value, cudaMemcpyDeviceToHost), "copy");
      wrong += value != 1 + 10 * t;
      expect_success(cudaFreeAsync(p, nullptr), "free");
    });
  }
  for (std::thread& each : threads) {
    each.join();
  }
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
