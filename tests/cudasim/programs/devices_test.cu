// SPDX-License-Identifier: Apache-2.0
//
// Devices themselves: what they say of themselves, two beside each other, the reset of one, and the
// loss of one at any call (two devices, CUDASIM_DEVICES).
#include "support.cuh"

#include <cuda.h>

#include <cstdint>
#include <thread>

namespace {

__device__ int variable = 5;
__global__ void add_variable(int* p) {
  variable += 1;
  *p = variable;
}
__global__ void increment(int* p) {
  *p += 1;
}

void expect_error(cudaError_t error, cudaError_t expected) {
  EXPECT_EQ(error, expected) << cudaGetErrorName(error);
  EXPECT_EQ(cudaGetLastError(), expected);
}

class Devices : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    expect_success(cudaGetDeviceCount(&count), "count");
    if (count < 2) {
      GTEST_SKIP() << "two devices are needed";
    }
  }
  void TearDown() override { cudaSetDevice(0); }
};

TEST_F(Devices, SayWhatTheyCan) {
  const auto get = [](cudaDeviceAttr which) {
    int value = -7;
    expect_success(cudaDeviceGetAttribute(&value, which, 1), "attribute");
    return value;
  };
  cudaDeviceProp properties;
  expect_success(cudaGetDeviceProperties(&properties, 1), "properties");
  EXPECT_EQ(properties.memoryPoolsSupported, get(cudaDevAttrMemoryPoolsSupported));
  EXPECT_EQ(properties.managedMemory, get(cudaDevAttrManagedMemory));
  EXPECT_EQ(properties.concurrentManagedAccess, get(cudaDevAttrConcurrentManagedAccess));
  EXPECT_EQ(properties.hostRegisterReadOnlySupported,
            get(cudaDevAttrHostRegisterReadOnlySupported));
  EXPECT_EQ(properties.pageableMemoryAccess, get(cudaDevAttrPageableMemoryAccess));
  EXPECT_EQ(properties.hostNumaId, get(cudaDevAttrHostNumaId));
  EXPECT_EQ(properties.gpuDirectRDMASupported, get(cudaDevAttrGPUDirectRDMASupported));
  EXPECT_EQ(properties.major, get(cudaDevAttrComputeCapabilityMajor));
  EXPECT_EQ(properties.multiProcessorCount, get(cudaDevAttrMultiProcessorCount));
  EXPECT_EQ(get(cudaDevAttrMemoryPoolsSupported), 1);
  EXPECT_EQ(get(cudaDevAttrHostMemoryPoolsSupported), 1);
  EXPECT_EQ(get(cudaDevAttrUnifiedAddressing), 1);
  int value = 0;
  expect_error(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, 2), cudaErrorInvalidDevice);
  expect_error(cudaDeviceGetAttribute(nullptr, cudaDevAttrWarpSize, 0), cudaErrorInvalidValue);
  expect_error(cudaSetDevice(-1), cudaErrorInvalidDevice);
  int runtime = 0;
  int driver = 0;
  expect_success(cudaRuntimeGetVersion(&runtime), "version");
  expect_success(cudaDriverGetVersion(&driver), "version");
  EXPECT_EQ(runtime / 1000, 13);
  EXPECT_GE(driver, runtime);
}

TEST_F(Devices, TheDriverSaysMore) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
  expect_success(cudaGetDriverEntryPointByVersion("cuDeviceGetAttribute", &found, 13000,
                                                  cudaEnableDefault, &result),
                 "entry");
  ASSERT_EQ(result, cudaDriverEntryPointSuccess);
  const auto get = reinterpret_cast<decltype(&cuDeviceGetAttribute)>(found);
  int value = 0;
  EXPECT_EQ(get(&value, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0), CUDA_SUCCESS);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(get(&value, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 0), CUDA_SUCCESS);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(get(&value, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 9),
            CUDA_ERROR_INVALID_DEVICE);
  cudaGetLastError();
  expect_success(
      cudaGetDriverEntryPointByVersion("cuNever", &found, 13000, cudaEnableDefault, &result),
      "entry");
  EXPECT_EQ(result, cudaDriverEntryPointSymbolNotFound);
  EXPECT_EQ(found, nullptr);
  expect_success(
      cudaGetDriverEntryPointByVersion("cuMemCreate", &found, 99000, cudaEnableDefault, &result),
      "entry");
  EXPECT_EQ(result, cudaDriverEntryPointVersionNotSufficent);
}

TEST_F(Devices, KernelsSayWhatTheyNeed) {
  cudaFuncAttributes attributes;
  expect_success(cudaFuncGetAttributes(&attributes, increment), "attributes");
  EXPECT_EQ(attributes.maxThreadsPerBlock, 1024);
  EXPECT_GT(attributes.numRegs, 0);
  EXPECT_GE(attributes.ptxVersion, 75);
  int blocks = 0;
  expect_success(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, increment, 256, 0),
                 "occupancy");
  EXPECT_GT(blocks, 0);
  expect_success(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, increment, 2048, 0),
                 "occupancy");
  EXPECT_EQ(blocks, 0);
  expect_error(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, increment, 0, 0),
               cudaErrorInvalidValue);
}

TEST_F(Devices, StreamsAndEventsBelongToOne) {
  scoped_stream here;
  scoped_event event_here;
  buffer<int> value(1);
  value.fill(0);
  expect_synchronised();
  expect_success(cudaSetDevice(1), "device 1");
  scoped_stream there;
  scoped_event event_there;
  int device = -1;
  expect_success(cudaStreamGetDevice(here, &device), "device");
  EXPECT_EQ(device, 0);
  expect_success(cudaStreamGetDevice(there, &device), "device");
  EXPECT_EQ(device, 1);
  increment<<<1, 1, 0, here>>>(value.data());
  expect_error(cudaPeekAtLastError(), cudaErrorInvalidResourceHandle);
  expect_error(cudaEventRecord(event_there, here), cudaErrorInvalidResourceHandle);
  expect_error(cudaEventRecord(event_here, nullptr), cudaErrorInvalidResourceHandle);
  expect_success(cudaMemsetAsync(value.data(), 1, sizeof(int), here), "copies may be anywhere");
  expect_success(cudaEventRecord(event_here, here), "record");
  expect_success(cudaStreamWaitEvent(there, event_here, 0), "waiting crosses devices");
  expect_success(cudaEventRecord(event_there, there), "record");
  expect_success(cudaEventSynchronize(event_there), "synchronise");
  int got = 0;
  expect_success(cudaSetDevice(0), "device 0");
  expect_success(cudaMemcpy(&got, value.data(), sizeof got, cudaMemcpyDefault), "copy");
  EXPECT_EQ(got, 0x01010101);
}

TEST_F(Devices, EventsGoWhilePending) {
  scoped_stream a;
  scoped_stream b;
  buffer<int> value(1);
  value.fill(0);
  expect_synchronised();
  cudaEvent_t event = nullptr;
  expect_success(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "create");
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess) << "never recorded";
  increment<<<1, 1, 0, a>>>(value.data());
  expect_success(cudaEventRecord(event, a), "record");
  expect_success(cudaStreamWaitEvent(b, event, 0), "wait");
  expect_success(cudaEventDestroy(event), "destroy");
  increment<<<1, 1, 0, b>>>(value.data());
  expect_synchronised();
  EXPECT_EQ(value.get()[0], 2);
  expect_error(cudaEventCreateWithFlags(&event, 0x100), cudaErrorInvalidValue);
  expect_error(cudaEventCreateWithFlags(nullptr, 0), cudaErrorInvalidValue);
}

TEST_F(Devices, PerThreadStreamsAreOfTheThread) {
  unsigned long long ids[2] = {};
  expect_success(cudaStreamGetId(cudaStreamPerThread, &ids[0]), "id");
  std::thread([&] { expect_success(cudaStreamGetId(cudaStreamPerThread, &ids[1]), "id"); }).join();
  EXPECT_NE(ids[0], ids[1]);
  unsigned long long again = 0;
  expect_success(cudaStreamGetId(cudaStreamPerThread, &again), "id");
  EXPECT_EQ(again, ids[0]);
}

TEST_F(Devices, PeerCopiesAreInStreamOrder) {
  scoped_stream stream;
  buffer<int> here(std::vector<int>{7});
  int* there = nullptr;
  expect_success(cudaSetDevice(1), "device 1");
  expect_success(cudaMalloc(&there, sizeof *there), "allocate");
  expect_success(cudaSetDevice(0), "device 0");
  increment<<<1, 1, 0, stream>>>(here.data());
  expect_success(cudaMemcpyPeerAsync(there, 1, here.data(), 0, sizeof(int), stream), "copy");
  expect_error(cudaMemcpyPeerAsync(there, 5, here.data(), 0, sizeof(int), stream),
               cudaErrorInvalidDevice);
  int got = 0;
  expect_success(cudaMemcpyAsync(&got, there, sizeof got, cudaMemcpyDeviceToHost, stream), "copy");
  EXPECT_EQ(got, 8);
  expect_success(cudaFree(there), "free");
}

struct called {
  cudaError_t error = cudaSuccess;
};
TEST_F(Devices, HostFunctionsMayNotCallCuda) {
  scoped_stream stream;
  called inside;
  const auto call = [](void* to) {
    void* p = nullptr;
    static_cast<called*>(to)->error = cudaMalloc(&p, 16);
    cudaGetLastError();
  };
  expect_success(cudaLaunchHostFunc(stream, call, &inside), "launch");
  expect_success(cudaStreamSynchronize(stream), "synchronise");
  EXPECT_EQ(inside.error, cudaErrorNotPermitted);
  expect_error(cudaLaunchHostFunc(stream, nullptr, nullptr), cudaErrorInvalidValue);
}

// What a device has at its start: what the test before may have left is taken.
std::size_t free_bytes_of(int device) {
  std::size_t free_bytes = 0;
  std::size_t total = 0;
  expect_success(cudaSetDevice(device), "device");
  expect_success(cudaMemGetInfo(&free_bytes, &total), "info");
  return free_bytes;
}

TEST_F(Devices, AResetEndsWhatIsOnOne) {
  expect_success(cudaSetDevice(0), "device 0");
  buffer<int> other(std::vector<int>{3});  // of the device that is not reset
  expect_success(cudaSetDevice(1), "device 1");
  int first = 0;
  int* out = nullptr;
  expect_success(cudaMalloc(&out, sizeof *out), "allocate");
  add_variable<<<1, 1>>>(out);
  expect_success(cudaMemcpy(&first, out, sizeof first, cudaMemcpyDeviceToHost), "copy");
  EXPECT_EQ(first, 6);
  const std::size_t with_one = free_bytes_of(1);
  void* pinned = nullptr;
  void* managed = nullptr;
  void* pooled = nullptr;
  void* registered = aligned_alloc(4096, 4096);
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  cudaMemPool_t pool = nullptr;
  cudaMemPoolProps wanted{};
  wanted.allocType = cudaMemAllocationTypePinned;
  wanted.location = {cudaMemLocationTypeDevice, 1};
  expect_success(cudaMallocHost(&pinned, 64), "pinned");
  expect_success(cudaMallocManaged(&managed, 64), "managed");
  expect_success(cudaHostRegister(registered, 4096, 0), "register");
  expect_success(cudaStreamCreate(&stream), "stream");
  expect_success(cudaEventCreate(&event), "event");
  expect_success(cudaMemPoolCreate(&pool, &wanted), "pool");
  expect_success(cudaDeviceSetMemPool(1, pool), "current pool");
  expect_success(cudaMallocAsync(&pooled, 64, stream), "pooled");
  expect_success(cudaDeviceEnablePeerAccess(0, 0), "peer");
  expect_success(cudaDeviceSetLimit(cudaLimitStackSize, 4096), "limit");
  expect_success(cudaDeviceReset(), "reset");
  EXPECT_GT(free_bytes_of(1), with_one);
  cudaMemPool_t current = nullptr;
  cudaMemPool_t usual = nullptr;
  cudaDeviceGetMemPool(&current, 1);
  cudaDeviceGetDefaultMemPool(&usual, 1);
  EXPECT_EQ(current, usual);
  std::size_t stack = 0;
  expect_success(cudaDeviceGetLimit(&stack, cudaLimitStackSize), "limit");
  EXPECT_EQ(stack, 1024u);
  expect_error(cudaDeviceDisablePeerAccess(0), cudaErrorPeerAccessNotEnabled);
  if (cudasim_is_present()) {  // handles are undefined now
    cudasim_set_quiet(1);
    expect_error(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
    expect_error(cudaEventQuery(event), cudaErrorInvalidResourceHandle);
    expect_error(cudaMemPoolTrimTo(pool, 0), cudaErrorInvalidValue);
    EXPECT_EQ(taken(CUDASIM_STALE_HANDLE), 3u);
    expect_error(cudaFree(out), cudaErrorInvalidValue);
    expect_error(cudaFreeHost(pinned), cudaErrorInvalidValue);
    expect_error(cudaFree(managed), cudaErrorInvalidValue);
    expect_error(cudaFreeAsync(pooled, nullptr), cudaErrorInvalidValue);
    EXPECT_EQ(taken(CUDASIM_USE_AFTER_FREE), 4u);
    expect_error(cudaHostUnregister(registered), cudaErrorHostMemoryNotRegistered);
    cudasim_set_quiet(0);
  }
  free(registered);
  expect_success(cudaMalloc(&out, sizeof *out), "the device begins again");
  add_variable<<<1, 1>>>(out);
  expect_success(cudaMemcpy(&first, out, sizeof first, cudaMemcpyDeviceToHost), "copy");
  EXPECT_EQ(first, 6) << "variables too";
  expect_success(cudaFree(out), "free");
  expect_success(cudaSetDevice(0), "device 0");
  EXPECT_EQ(other.get()[0], 3);
}

class Faults : public Devices {
 protected:
  void SetUp() override {
    Devices::SetUp();
    if (!cudasim_is_present()) {
      GTEST_SKIP() << "cudasim only";
    }
  }
  // What an allocator does; every step may fail, and nothing may stay.
  static bool use_all() {
    cudaStream_t stream = nullptr;
    void* p = nullptr;
    void* pinned = nullptr;
    const bool works = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess &&
                       cudaMallocHost(&pinned, 64) == cudaSuccess &&
                       cudaMallocAsync(&p, 64, stream) == cudaSuccess &&
                       cudaMemcpyAsync(p, pinned, 64, cudaMemcpyDefault, stream) == cudaSuccess &&
                       cudaStreamSynchronize(stream) == cudaSuccess;
    const auto insist = [](auto f) { return f() == cudaSuccess || f() == cudaSuccess; };
    const bool ends = (p == nullptr || insist([&] { return cudaFreeAsync(p, stream); })) &&
                      (pinned == nullptr || insist([&] { return cudaFreeHost(pinned); })) &&
                      (stream == nullptr || insist([&] { return cudaStreamDestroy(stream); }));
    EXPECT_TRUE(ends);
    return works;
  }
};

TEST_F(Faults, EveryCallFailsOnceAtEveryPosition) {
  const unsigned long long before = cudasim_faults_struck(nullptr, 0);
  unsigned long long calls = cudasim_calls(nullptr);
  EXPECT_TRUE(use_all());
  calls = cudasim_calls(nullptr) - calls;
  EXPECT_EQ(calls, 8u);
  std::string names;
  for (unsigned long long n = 1; n <= calls; ++n) {
    cudasim_fail_call(nullptr, n, cudaErrorUnknown, 0);
    EXPECT_EQ(use_all(), n > 5) << n;
    EXPECT_EQ(cudasim_faults_struck(nullptr, 0), before + n);
    char name[64] = "";
    cudasim_faults_struck(name, sizeof name);
    names += std::string(name) + " ";
  }
  EXPECT_EQ(names, "cudaStreamCreateWithFlags cudaMallocHost cudaMallocAsync cudaMemcpyAsync "
                   "cudaStreamSynchronize cudaFreeAsync cudaFreeHost cudaStreamDestroy ");
  EXPECT_TRUE(use_all()) << "nothing is planted any more";
  cudaGetLastError();
}

TEST_F(Faults, ALostDeviceStaysLost) {
  scoped_stream stream;
  buffer<int> value(1);
  value.fill(0);
  expect_synchronised();
  cudasim_lose_device(nullptr, 3, cudaErrorECCUncorrectable);
  std::size_t free_bytes = 0;
  std::size_t total = 0;
  expect_success(cudaMemGetInfo(&free_bytes, &total), "first");
  expect_success(cudaMemGetInfo(&free_bytes, &total), "second");
  EXPECT_EQ(cudaMemGetInfo(&free_bytes, &total), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaMemsetAsync(value.data(), 1, sizeof(int), stream), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaGetLastError(), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaGetLastError(), cudaErrorECCUncorrectable);
  int version = 0;
  EXPECT_EQ(cudaDriverGetVersion(&version), cudaSuccess) << "needs no device";
  cudasim_clear_error();
  EXPECT_EQ(value.get()[0], 0);
}

}  // namespace
