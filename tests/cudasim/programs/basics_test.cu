// SPDX-License-Identifier: Apache-2.0
//
// Small kernels that use one feature each: divergence, atomics, shared and local memory, calls,
// mathematics, switches, constants, printf. Expected values come from the host.
#include "support.cuh"

#include <cmath>
#include <cstdint>
#include <numeric>

namespace {

__constant__ int scale[4];
__device__ unsigned total;

__global__ void add(const float* a, const float* b, float* c, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    c[i] = a[i] + b[i];
  }
}

__host__ __device__ unsigned collatz_steps(unsigned long long value) {
  unsigned steps = 0;
  while (value != 1) {
    value = value % 2 == 1 ? 3 * value + 1 : value / 2;
    ++steps;
  }
  return steps;
}
__global__ void collatz(unsigned* steps, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    steps[i] = collatz_steps(i + 1);
    atomicAdd(&total, steps[i]);
  }
}

// A spin lock within a warp ends only if diverged lanes get turns.
__global__ void count_under_lock(int* out) {
  __shared__ int lock;
  __shared__ int value;
  if (threadIdx.x == 0) {
    lock = 0;
    value = 0;
  }
  __syncthreads();
  for (bool done = false; !done;) {
    if (atomicCAS(&lock, 0, 1) == 0) {
      value = value * scale[1] + scale[0];
      __threadfence_block();
      atomicExch(&lock, 0);
      done = true;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    *out = value;
  }
}

__device__ __noinline__ double exponential_series(double x, int n) {
  double sum = 0;
  double term = 1;
  for (int i = 1; i <= n; ++i) {
    sum += term;
    term *= x / i;
  }
  return sum;
}
__global__ void sum_of_functions(double* out, int n) {
  extern __shared__ double tile[];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  tile[threadIdx.x] =
      i < n ? exponential_series(i * 1e-3, 30) + sin(double(i)) * 1e-3 + pow(1.0 + i, 0.25) : 0;
  __syncthreads();
  for (int distance = blockDim.x / 2; distance != 0; distance /= 2) {
    if (threadIdx.x < distance) {
      tile[threadIdx.x] += tile[threadIdx.x + distance];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    out[blockIdx.x] = tile[0];
  }
}

__host__ __device__ int mix_local_array(int thread, int n) {
  int a[16];
  for (int i = 0; i < 16; ++i) {
    a[(i * n) & 15] = i * thread;
  }
  int sum = 0;
  for (int i = 0; i < 16; ++i) {
    sum += a[(i + n) & 15] * (i + 1);
  }
  return sum;
}
__global__ void use_local_array(int* out, int n) {
  out[threadIdx.x] = mix_local_array(threadIdx.x, n);
}

__host__ __device__ int choose(int x) {
  switch (x) {
  case 0:
    return 7;
  case 1:
    return 3 * x + 100;
  case 2:
    return x * x + 9;
  case 3:
    return -5;
  case 4:
    return x ^ 77;
  case 5:
    return 1 << x;
  case 6:
    return x % 4;
  default:
    return 0;
  }
}
__global__ void use_switch(int* values) {
  values[threadIdx.x] = choose(values[threadIdx.x]);
}

__global__ void print(int x) {
  if (threadIdx.x % 3 == 0) {
    printf("thread %u: %d %.3f %s %lld%%\n", threadIdx.x, x, x * 0.5, "text", 1ll << 40);
  }
}

__global__ void read_parameters(const int* a, char b, double c, short d, int* out) {
  *out = *a + b + int(c) + d;
}

TEST(Basics, VectorsAreAdded) {
  constexpr int n = 100003;
  std::vector<float> a(n);
  std::vector<float> b(n);
  for (int i = 0; i < n; ++i) {
    a[i] = i * 0.5f;
    b[i] = 3.0f * i;
  }
  buffer<float> on_device_a(a);
  buffer<float> on_device_b(b);
  buffer<float> sum(n);
  add<<<(n + 255) / 256, 256>>>(on_device_a.data(), on_device_b.data(), sum.data(), n);
  expect_success(cudaGetLastError(), "launch");
  const std::vector<float> c = sum.get();
  for (int i = 0; i < n; ++i) {
    ASSERT_EQ(c[i], a[i] + b[i]) << i;
  }
}

TEST(Basics, DivergentLoopsEnd) {
  constexpr int n = 5000;
  buffer<unsigned> steps(n);
  const unsigned zero = 0;
  expect_success(cudaMemcpyToSymbol(total, &zero, sizeof zero), "symbol");
  collatz<<<20, 256>>>(steps.data(), n);
  const std::vector<unsigned> got = steps.get();
  unsigned expected_total = 0;
  for (int i = 0; i < n; ++i) {
    ASSERT_EQ(got[i], collatz_steps(i + 1)) << i;
    expected_total += got[i];
  }
  unsigned got_total = 0;
  expect_success(cudaMemcpyFromSymbol(&got_total, total, sizeof got_total), "symbol");
  EXPECT_EQ(got_total, expected_total);
}

TEST(Basics, LanesSpinOnEachOther) {
  const int values[4] = {1, 1, 0, 0};
  expect_success(cudaMemcpyToSymbol(scale, values, sizeof values), "symbol");
  buffer<int> count(1);
  count_under_lock<<<1, 100>>>(count.data());
  EXPECT_EQ(count.get()[0], 100);
}

TEST(Basics, FunctionsAreExactEnough) {
  buffer<double> sums(8);
  sum_of_functions<<<8, 128, 128 * sizeof(double)>>>(sums.data(), 1000);
  const std::vector<double> got = sums.get();
  double expected = 0;
  for (int i = 0; i < 1000; ++i) {
    expected += std::exp(i * 1e-3) + std::sin(double(i)) * 1e-3 + std::pow(1.0 + i, 0.25);
  }
  EXPECT_NEAR(std::accumulate(got.begin(), got.end(), 0.0), expected, 1e-9 * expected);
}

TEST(Basics, LocalArraysAreOfTheThread) {
  buffer<int> out(64);
  use_local_array<<<1, 64>>>(out.data(), 5);
  const std::vector<int> got = out.get();
  for (int thread = 0; thread < 64; ++thread) {
    EXPECT_EQ(got[thread], mix_local_array(thread, 5)) << thread;
  }
}

TEST(Basics, SwitchesTakeEachBranch) {
  std::vector<int> values(32);
  for (int i = 0; i < 32; ++i) {
    values[i] = i % 9;
  }
  buffer<int> on_device(values);
  use_switch<<<1, 32>>>(on_device.data());
  const std::vector<int> got = on_device.get();
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(got[i], choose(values[i])) << i;
  }
}

TEST(Basics, ParametersOfAllSizesArrive) {
  buffer<int> a(std::vector<int>{1000});
  buffer<int> out(1);
  read_parameters<<<1, 1>>>(a.data(), -3, 20.5, -400, out.data());
  EXPECT_EQ(out.get()[0], 1000 - 3 + 20 - 400);
}

TEST(Basics, KernelsPrint) {
  testing::internal::CaptureStdout();
  print<<<1, 8>>>(42);
  expect_synchronised();
  fflush(stdout);
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            "thread 0: 42 21.000 text 1099511627776%\nthread 3: 42 21.000 text 1099511627776%\n"
            "thread 6: 42 21.000 text 1099511627776%\n");
}

TEST(Basics, AbsurdLaunchesAreRefused) {
  buffer<int> out(64);
  use_local_array<<<1, 2000>>>(out.data(), 5);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  use_local_array<<<0, 32>>>(out.data(), 5);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  use_local_array<<<dim3(1, 70000), 32>>>(out.data(), 5);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  use_local_array<<<1, 32, 1 << 20>>>(out.data(), 5);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaLaunchKernel(&out, 1, 1, nullptr, 0, nullptr), cudaErrorInvalidDeviceFunction);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDeviceFunction);
  expect_synchronised();
}

}  // namespace
