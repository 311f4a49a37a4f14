// SPDX-License-Identifier: Apache-2.0
//
// cudasim.h itself: planted faults, memory that runs out, refused reuse, sticky errors, counts; and
// what devices can be told to lack, by programs of their own environment.
#include "support.cuh"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

namespace {

__global__ void add_all(int* out, const int* in, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    atomicAdd(out, in[i]);
  }
}

class Control : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cudasim_is_present()) {
      GTEST_SKIP() << "cudasim only";
    }
  }
};

TEST_F(Control, TheNthCallFails) {
  void* p = nullptr;
  cudasim_fail_call("cudaMalloc", 2, cudaErrorMemoryAllocation, 0);
  EXPECT_EQ(cudaMalloc(&p, 64), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&p, 64), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&p, 64), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}

TEST_F(Control, AFaultMayStay) {
  cudaStream_t stream = nullptr;
  cudasim_fail_call("cudaStreamCreate", 1, cudaErrorUnknown, 1);
  EXPECT_EQ(cudaStreamCreate(&stream), cudaErrorUnknown);
  EXPECT_EQ(cudaStreamCreate(&stream), cudaErrorUnknown);
  cudasim_fail_no_call();
  EXPECT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  cudaGetLastError();
}

TEST_F(Control, LaunchesCanFailToo) {
  buffer<int> data(4);
  cudasim_fail_call("cudaLaunchKernel", 1, cudaErrorLaunchOutOfResources, 0);
  add_all<<<1, 1>>>(data.data(), data.data(), 0);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchOutOfResources);
}

TEST_F(Control, MemoryRunsOutAtALevel) {
  std::size_t free_bytes = 0;
  std::size_t total = 0;
  cudaMemGetInfo(&free_bytes, &total);
  cudasim_set_memory(total - free_bytes + (1 << 20));
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 2 << 20), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&p, 1 << 19), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  cudasim_set_memory(total);
  cudaGetLastError();
}

TEST_F(Control, PoolsCanRefuseToReuse) {
  scoped_stream stream;
  void* first = nullptr;
  void* second = nullptr;
  cudasim_set_reuse(0);
  cudaMallocAsync(&first, 1 << 20, stream);
  cudaFreeAsync(first, stream);
  cudaMallocAsync(&second, 1 << 20, stream);
  EXPECT_NE(first, second);
  cudaFreeAsync(second, stream);
  cudasim_set_reuse(1);
}

TEST_F(Control, CallsBytesAndTransactionsAreCounted) {
  constexpr int n = 1024;
  buffer<int> in(std::vector<int>(n, 1));
  buffer<int> out(1);
  out.fill(0);
  expect_synchronised();
  cudasim_reset_counts();
  cudasim_count_sectors(1);
  add_all<<<4, 256>>>(out.data(), in.data(), n);
  EXPECT_EQ(out.get()[0], n);
  cudasim_count_sectors(0);
  EXPECT_EQ(cudasim_calls("cudaMemcpy"), 1u);
  EXPECT_EQ(cudasim_calls("cudaLaunchKernel"), 1u);
  EXPECT_EQ(cudasim_calls("cudaMalloc"), 0u);
  const cudasim_counts counts = cudasim_get_counts();
  EXPECT_EQ(counts.launches, 1u);
  EXPECT_EQ(counts.copies, 1u);
  EXPECT_EQ(counts.bytes_to_host, sizeof(int));
  EXPECT_EQ(counts.bytes_to_device, 0u);
  const cudasim_kernel_counts kernel = cudasim_get_kernel_counts("add_all");
  EXPECT_EQ(kernel.launches, 1u);
  EXPECT_EQ(kernel.atomics, unsigned{n});
  EXPECT_EQ(kernel.sectors_read, n * sizeof(int) / 32);
  EXPECT_GT(kernel.thread_instructions, unsigned{n});
}

// Runs this program again for one test, with another environment; true if that test passed.
bool passes_with(const char* variable, const char* value, const char* test) {
  const pid_t child = fork();
  if (child == 0) {
    forget_how_tests_run();
    setenv(variable, value, 1);
    setenv("CUDASIM_TEST_CHILD", "1", 1);
    const std::string filter = std::string("--gtest_filter=") + test;
    execl("/proc/self/exe", "sim_control", filter.c_str(), "--gtest_brief=1", nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class Child : public Control {
 protected:
  void SetUp() override {
    Control::SetUp();
    if (!IsSkipped() && std::getenv("CUDASIM_TEST_CHILD") == nullptr) {
      GTEST_SKIP() << "run by Control.DevicesCanLackThings";
    }
  }
};
TEST_F(Child, NoDevice) {
  int count = 7;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  EXPECT_EQ(count, 0);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorNoDevice);
}
TEST_F(Child, OldDriver) {
  int count = 7;
  int version = 0;
  EXPECT_EQ(cudaDriverGetVersion(&version), cudaSuccess);
  EXPECT_EQ(version, 11040);
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
}
TEST_F(Child, NoPools) {
  int supported = 7;
  EXPECT_EQ(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, 0), cudaSuccess);
  EXPECT_EQ(supported, 0);
  void* p = nullptr;
  EXPECT_EQ(cudaMallocAsync(&p, 4, nullptr), cudaErrorNotSupported);
}
TEST_F(Child, NoManagedMemory) {
  void* p = nullptr;
  EXPECT_EQ(cudaMallocManaged(&p, 4), cudaErrorNotSupported);
}
TEST_F(Child, PlantedByTheEnvironment) {
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&p, 4), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}
TEST_F(Child, ALeakFailsTheProcess) {
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaSuccess);
}

TEST_F(Child, AnEventThatStaysFailsTheProcess) {
  cudaEvent_t event = nullptr;
  EXPECT_EQ(cudaEventCreate(&event), cudaSuccess);
}

TEST_F(Control, WhatIsNotDestroyedIsALeak) {
  cudasim_set_quiet(1);
  cudasim_report_leaks();
  EXPECT_EQ(taken(CUDASIM_LEAK), 0u) << latest_report();
  const auto expect_leak = [](const std::string& what) {
    cudasim_report_leaks();
    EXPECT_EQ(taken(CUDASIM_LEAK), 1u) << what << ": " << latest_report();
    EXPECT_NE(latest_report().find(what), std::string::npos) << latest_report();
  };
  void* p = nullptr;
  cudaMalloc(&p, 40);
  expect_leak("40 bytes of device memory");
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaMemsetAsync(p, 0, 40, stream);
  expect_leak("made by cudaStreamCreateWithFlags and never destroyed; its last use: "
              "cudaMemsetAsync in stream");
  cudaEvent_t event = nullptr;
  cudaEventCreate(&event);
  expect_leak("event, made by cudaEventCreate and never destroyed, never used");
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
  cudaMemsetAsync(p, 0, 40, stream);
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream, &graph);
  expect_leak("graph of 1 nodes: cudaMemsetAsync, made by cudaStreamBeginCapture");
  cudaGraphExec_t executable = nullptr;
  cudaGraphInstantiate(&executable, graph, 0);
  expect_leak("executable graph of 1 nodes");
  cudaMemPoolProps wanted{};
  wanted.allocType = cudaMemAllocationTypePinned;
  wanted.location = {cudaMemLocationTypeDevice, 0};
  cudaMemPool_t pool = nullptr;
  cudaMemPoolCreate(&pool, &wanted);
  expect_leak("pool of device 0, 0 bytes reserved, made by cudaMemPoolCreate");
  EXPECT_EQ(cudaMemPoolDestroy(pool), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  cudasim_report_leaks();
  EXPECT_EQ(taken(CUDASIM_LEAK), 0u) << latest_report();
  cudasim_set_quiet(0);
}

TEST_F(Control, DevicesCanLackThings) {
  EXPECT_TRUE(passes_with("CUDASIM_DEVICES", "0", "Child.NoDevice"));
  EXPECT_TRUE(passes_with("CUDASIM_DRIVER", "11040", "Child.OldDriver"));
  EXPECT_TRUE(passes_with("CUDASIM_WITHOUT", "pools,vmm", "Child.NoPools"));
  EXPECT_TRUE(passes_with("CUDASIM_WITHOUT", "managed", "Child.NoManagedMemory"));
  EXPECT_TRUE(passes_with("CUDASIM_FAULTS", "cudaMalloc:1:2", "Child.PlantedByTheEnvironment"));
  EXPECT_FALSE(passes_with("CUDASIM_LEAKS", "1", "Child.ALeakFailsTheProcess"));
  EXPECT_TRUE(passes_with("CUDASIM_LEAKS", "0", "Child.ALeakFailsTheProcess"));
  EXPECT_FALSE(passes_with("CUDASIM_LEAKS", "1", "Child.AnEventThatStaysFailsTheProcess"));
}

}  // namespace
