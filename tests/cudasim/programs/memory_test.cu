// SPDX-License-Identifier: Apache-2.0
//
// What the memory functions promise, right or wrong use: capacity, error states, pools and their
// reuse rules, pointers, peers. Two devices of 256 MiB (CUDASIM_MEMORY, CUDASIM_DEVICES).
#include "support.cuh"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

__managed__ int counter = 5;
__global__ void add_counter(int* p) {
  *p += counter;
  atomicAdd_system(&counter, 1);
}
__global__ void increment(int* p) {
  *p += 1;
}

void expect_error(cudaError_t error, cudaError_t expected) {
  EXPECT_EQ(error, expected) << cudaGetErrorName(error);
  EXPECT_EQ(cudaGetLastError(), expected);
}

// True where operations run only when the host waits, so that nothing has been freed early.
bool runs_late() {
  return std::getenv("CUDASIM_EAGER") == nullptr && std::getenv("CUDASIM_ASYNC") == nullptr &&
         std::getenv("CUDASIM_SEED") == nullptr;
}

class own_pool {
 public:
  explicit own_pool(std::size_t max_bytes = 0) {
    cudaMemPoolProps wanted{};
    wanted.allocType = cudaMemAllocationTypePinned;
    wanted.location = {cudaMemLocationTypeDevice, 0};
    wanted.maxSize = max_bytes;
    expect_success(cudaMemPoolCreate(&handle_, &wanted), "cudaMemPoolCreate");
    std::uint64_t keep_all = ~0ull;
    expect_success(cudaMemPoolSetAttribute(handle_, cudaMemPoolAttrReleaseThreshold, &keep_all),
                   "threshold");
  }
  own_pool(const own_pool&) = delete;
  own_pool& operator=(const own_pool&) = delete;
  ~own_pool() { expect_success(cudaMemPoolDestroy(handle_), "cudaMemPoolDestroy"); }
  operator cudaMemPool_t() const { return handle_; }
  std::uint64_t get(cudaMemPoolAttr which) const {
    std::uint64_t value = 0;
    expect_success(cudaMemPoolGetAttribute(handle_, which, &value), "attribute");
    return value;
  }
  void allow(cudaMemPoolAttr which, int yes) {
    expect_success(cudaMemPoolSetAttribute(handle_, which, &yes), "attribute");
  }
  void* take(std::size_t bytes, cudaStream_t in) {
    void* p = nullptr;
    expect_success(cudaMallocFromPoolAsync(&p, bytes, handle_, in), "allocate");
    return p;
  }

 private:
  cudaMemPool_t handle_ = nullptr;
};

TEST(Memory, CapacityIsALimit) {
  std::size_t free_bytes = 0;
  std::size_t total = 0;
  expect_success(cudaMemGetInfo(&free_bytes, &total), "info");
  EXPECT_EQ(total, 256 * mib);
  const std::size_t free_before = free_bytes;
  void* large = nullptr;
  void* other = nullptr;
  expect_success(cudaMalloc(&large, 200 * mib), "200 MiB");
  expect_error(cudaMalloc(&other, 100 * mib), cudaErrorMemoryAllocation);
  EXPECT_EQ(other, nullptr);
  expect_success(cudaMalloc(&other, mib), "1 MiB");
  expect_success(cudaFree(large), "free");
  expect_success(cudaFree(other), "free");
  expect_error(cudaMalloc(&other, ~std::size_t{0}), cudaErrorMemoryAllocation);
  expect_success(cudaMemGetInfo(&free_bytes, &total), "info");
  EXPECT_EQ(free_bytes, free_before);
}

TEST(Memory, WhatNobodyWroteIsFilled) {
  unsigned char* p = nullptr;
  expect_success(cudaMalloc(&p, 2 * mib), "cudaMalloc");
  std::vector<unsigned char> seen(mib);  // CUDASIM_POISON
  expect_success(cudaMemcpy(seen.data(), p, mib, cudaMemcpyDeviceToHost), "cudaMemcpy");
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 0xA5), static_cast<std::ptrdiff_t>(mib));
  expect_success(cudaFree(p), "cudaFree");
}

TEST(Memory, WrongFreesAreRefused) {
  int on_host = 0;
  void* p = nullptr;
  expect_success(cudaMalloc(&p, 64), "allocate");
  expect_error(cudaFree(static_cast<char*>(p) + 16), cudaErrorInvalidValue);
  expect_error(cudaFree(&on_host), cudaErrorInvalidValue);
  expect_error(cudaFreeHost(p), cudaErrorInvalidValue);
  expect_success(cudaFree(p), "free");
  expect_error(cudaFree(p), cudaErrorInvalidValue);
  EXPECT_EQ(taken(CUDASIM_USE_AFTER_FREE), cudasim_is_present() ? 1u : 0u);
  EXPECT_NE(latest_report().find("cudaFree of what is free"), std::string::npos);
  expect_success(cudaFree(nullptr), "null");
  expect_success(cudaFreeHost(nullptr), "null");
  expect_error(cudaMalloc(nullptr, 64), cudaErrorInvalidValue);
}

TEST(Memory, ZeroBytesAreNull) {
  void* p = &p;
  expect_success(cudaMalloc(&p, 0), "zero bytes");
  EXPECT_EQ(p, nullptr);
}

TEST(Pools, ABlockIsReusedInItsStream) {
  own_pool pool;
  scoped_stream stream;
  void* const first = pool.take(mib, stream);
  cudaMemsetAsync(first, 1, mib, stream);
  expect_success(cudaFreeAsync(first, stream), "free");
  void* const second = pool.take(mib, stream);
  EXPECT_EQ(first, second);
  EXPECT_EQ(pool.get(cudaMemPoolAttrUsedMemCurrent), mib);
  expect_success(cudaFreeAsync(second, stream), "free");
  expect_error(cudaFreeAsync(second, stream), cudaErrorInvalidValue);
  EXPECT_EQ(taken(CUDASIM_USE_AFTER_FREE), cudasim_is_present() ? 1u : 0u);
  cudaStreamSynchronize(stream);
  EXPECT_EQ(pool.get(cudaMemPoolAttrUsedMemCurrent), 0u);
  EXPECT_EQ(pool.get(cudaMemPoolAttrUsedMemHigh), mib);
  EXPECT_EQ(pool.get(cudaMemPoolAttrReservedMemCurrent), 32 * mib);
  expect_success(cudaMemPoolTrimTo(pool, 0), "trim");
  EXPECT_EQ(pool.get(cudaMemPoolAttrReservedMemCurrent), 0u);
  EXPECT_EQ(pool.get(cudaMemPoolAttrReservedMemHigh), 32 * mib);
}

TEST(Pools, AnEventCarriesABlockToAnotherStream) {
  own_pool pool;
  pool.allow(cudaMemPoolReuseAllowOpportunistic, 0);
  pool.allow(cudaMemPoolReuseAllowInternalDependencies, 0);
  scoped_stream a;
  scoped_stream b;
  scoped_event freed;
  void* const first = pool.take(mib, a);
  expect_success(cudaFreeAsync(first, a), "free");
  void* const unordered = pool.take(mib, b);
  EXPECT_NE(unordered, first) << "b is not ordered after the free";
  cudaEventRecord(freed, a);
  cudaStreamWaitEvent(b, freed, 0);
  void* const ordered = pool.take(mib, b);
  EXPECT_EQ(ordered, first);
  expect_success(cudaFreeAsync(unordered, b), "free");
  expect_success(cudaFreeAsync(ordered, b), "free");
  pool.allow(cudaMemPoolReuseFollowEventDependencies, 0);
  cudaEventRecord(freed, b);
  cudaStreamWaitEvent(a, freed, 0);
  void* const refused = pool.take(mib, a);
  EXPECT_NE(refused, ordered);
  expect_success(cudaFreeAsync(refused, a), "free");
}

// By default too, where a free may also have executed already.
TEST(Pools, AnInternalDependencyOrdersReuse) {
  for (const int is_opportunistic : {0, 1}) {
    own_pool pool;
    pool.allow(cudaMemPoolReuseAllowOpportunistic, is_opportunistic);
    scoped_stream a;
    scoped_stream b;
    void* const whole = pool.take(32 * mib, a);
    cudaMemsetAsync(whole, 1, mib, a);
    expect_success(cudaFreeAsync(whole, a), "free");
    void* const again = pool.take(32 * mib, b);
    EXPECT_EQ(again, whole);
    cudaMemsetAsync(again, 2, mib, b);  // ordered by the dependency that the pool put in
    expect_success(cudaFreeAsync(again, b), "free");
  }
}

TEST(Pools, ReuseOfExecutedFreesIsOpportunistic) {
  if (!runs_late()) {
    GTEST_SKIP() << "frees may have executed already";
  }
  own_pool pool;
  scoped_stream a;
  scoped_stream b;
  void* const first = pool.take(mib, a);
  expect_success(cudaFreeAsync(first, a), "free");
  void* const other = pool.take(mib, b);
  EXPECT_NE(other, first);
  cudaStreamSynchronize(a);
  void* const reused = pool.take(mib, b);
  EXPECT_EQ(reused, first);
  expect_success(cudaFreeAsync(other, b), "free");
  expect_success(cudaFreeAsync(reused, b), "free");
}

TEST(Pools, LimitsAreKept) {
  own_pool small(64 * mib);
  scoped_stream stream;
  void* const p = small.take(60 * mib, stream);
  void* q = nullptr;
  expect_error(cudaMallocFromPoolAsync(&q, 10 * mib, small, stream), cudaErrorMemoryAllocation);
  expect_success(cudaFreeAsync(p, stream), "free");
  own_pool large;
  expect_error(cudaMallocFromPoolAsync(&q, 300 * mib, large, stream), cudaErrorMemoryAllocation);
  EXPECT_EQ(q, nullptr);
}

TEST(Pools, TheThresholdDecidesWhatASyncReleases) {
  own_pool pool;
  scoped_stream stream;
  std::uint64_t none = 0;
  expect_success(cudaFreeAsync(pool.take(mib, stream), stream), "free");
  cudaStreamSynchronize(stream);
  EXPECT_EQ(pool.get(cudaMemPoolAttrReservedMemCurrent), 32 * mib);
  cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &none);
  cudaStreamSynchronize(stream);
  EXPECT_EQ(pool.get(cudaMemPoolAttrReservedMemCurrent), 0u);
}

TEST(Pools, FreedNeighboursAreOneBlockAgain) {
  own_pool pool;
  scoped_stream stream;
  std::vector<void*> blocks;
  for (int i = 0; i < 32; ++i) {
    blocks.push_back(pool.take(mib, stream));
  }
  for (void* const each : blocks) {
    expect_success(cudaFreeAsync(each, stream), "free");
  }
  void* const whole = pool.take(32 * mib, stream);
  EXPECT_EQ(pool.get(cudaMemPoolAttrReservedMemCurrent), 32 * mib);
  expect_success(cudaFreeAsync(whole, stream), "free");
}

TEST(Pools, TheCurrentPoolServesMallocAsync) {
  own_pool pool;
  cudaMemPool_t usual;
  cudaMemPool_t current;
  expect_success(cudaDeviceGetDefaultMemPool(&usual, 0), "default");
  expect_success(cudaDeviceSetMemPool(0, pool), "set");
  expect_success(cudaDeviceGetMemPool(&current, 0), "get");
  EXPECT_EQ(current, pool);
  scoped_stream stream;
  void* p = nullptr;
  expect_success(cudaMallocAsync(&p, mib, stream), "allocate");
  EXPECT_EQ(pool.get(cudaMemPoolAttrUsedMemCurrent), mib);
  expect_success(cudaFreeAsync(p, stream), "free");
  expect_success(cudaDeviceSetMemPool(0, usual), "set");
}

TEST(Pools, HostAndManagedMemoryHavePoolsToo) {
  scoped_stream stream;
  for (const cudaMemAllocationType type :
       {cudaMemAllocationTypePinned, cudaMemAllocationTypeManaged}) {
    cudaMemLocation host{cudaMemLocationTypeHost, 0};
    cudaMemPool_t pool;
    expect_success(cudaMemGetDefaultMemPool(&pool, &host, type), "pool");
    int* p = nullptr;
    expect_success(cudaMallocFromPoolAsync(reinterpret_cast<void**>(&p), sizeof *p, pool, stream),
                   "allocate");
    cudaMemsetAsync(p, 0, sizeof *p, stream);
    increment<<<1, 1, 0, stream>>>(p);
    cudaStreamSynchronize(stream);
    EXPECT_EQ(*p, 1);
    expect_success(cudaFreeAsync(p, stream), "free");
  }
}

TEST(Memory, ManagedMemoryIsSeenByBoth) {
  int* managed = nullptr;
  expect_success(cudaMallocManaged(&managed, sizeof *managed), "managed");
  *managed = 1;
  const int before = counter;
  add_counter<<<1, 1>>>(managed);
  expect_synchronised();
  EXPECT_EQ(*managed, 1 + before);
  EXPECT_EQ(counter, before + 1);
  expect_success(cudaFree(managed), "free");
}

TEST(Memory, PointersKnowTheirKind) {
  int local = 0;
  int* device = nullptr;
  int* pinned = nullptr;
  int* managed = nullptr;
  cudaMalloc(&device, 64);
  cudaMallocHost(&pinned, 64);
  cudaMallocManaged(&managed, 64);
  const auto kind_of = [](const void* p) {
    cudaPointerAttributes attributes;
    expect_success(cudaPointerGetAttributes(&attributes, p), "attributes");
    return attributes.type;
  };
  EXPECT_EQ(kind_of(device + 3), cudaMemoryTypeDevice);
  EXPECT_EQ(kind_of(pinned), cudaMemoryTypeHost);
  EXPECT_EQ(kind_of(managed), cudaMemoryTypeManaged);
  EXPECT_EQ(kind_of(&local), cudaMemoryTypeUnregistered);
  expect_success(cudaHostRegister(&local, sizeof local, cudaHostRegisterDefault), "register");
  EXPECT_EQ(kind_of(&local), cudaMemoryTypeHost);
  expect_error(cudaHostRegister(&local, sizeof local, cudaHostRegisterDefault),
               cudaErrorHostMemoryAlreadyRegistered);
  void* mapped = nullptr;
  expect_success(cudaHostGetDevicePointer(&mapped, &local, 0), "device pointer");
  increment<<<1, 1>>>(static_cast<int*>(mapped));
  expect_synchronised();
  EXPECT_EQ(local, 1);
  expect_success(cudaHostUnregister(&local), "unregister");
  expect_error(cudaHostUnregister(&local), cudaErrorHostMemoryNotRegistered);
  cudaFree(device);
  cudaFreeHost(pinned);
  cudaFree(managed);
}

TEST(Memory, TheHostMayNotTouchDeviceMemory) {
  buffer<int> device(16);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    *const_cast<volatile int*>(device.data()) = 1;
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}

TEST(Memory, CopiesCheckTheirDirection) {
  buffer<int> device(16);
  int host = 3;
  expect_error(cudaMemcpy(&host, device.data(), 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  expect_error(cudaMemcpy(device.data(), &host, 4, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  expect_error(cudaMemcpy(device.data(), &host, 4, static_cast<cudaMemcpyKind>(77)),
               cudaErrorInvalidMemcpyDirection);
  expect_success(cudaMemcpy(device.data(), &host, 4, cudaMemcpyDefault), "default");
  EXPECT_EQ(device.get()[0], 3);
}

TEST(Memory, PitchedCopiesMoveRectangles) {
  constexpr std::size_t width = 5;
  constexpr std::size_t height = 3;
  char* device = nullptr;
  std::size_t pitch = 0;
  expect_success(cudaMallocPitch(&device, &pitch, width, height), "pitch");
  EXPECT_GE(pitch, width);
  const std::string from = "abcdefghijklmno";
  std::string to(width * height, '.');
  expect_success(cudaMemset2D(device, pitch, 'x', width, height), "fill");
  expect_success(cudaMemcpy2D(device, pitch, from.data(), width, 4, height, cudaMemcpyHostToDevice),
                 "to");
  expect_success(
      cudaMemcpy2D(to.data(), width, device, pitch, width, height, cudaMemcpyDeviceToHost), "from");
  EXPECT_EQ(to, "abcdxfghixklmnx");
  cudaFree(device);
}

TEST(Peers, AccessHasToBeEnabled) {
  int* there = nullptr;
  buffer<int> here(std::vector<int>{7});
  expect_success(cudaSetDevice(1), "device 1");
  expect_success(cudaMalloc(&there, 64), "allocate");
  expect_success(cudaMemset(there, 0, 64), "fill");
  expect_synchronised();
  cudaPointerAttributes attributes;
  cudaPointerGetAttributes(&attributes, there);
  EXPECT_EQ(attributes.device, 1);
  expect_success(cudaSetDevice(0), "device 0");
  expect_success(cudaMemcpyPeer(there, 1, here.data(), 0, sizeof(int)), "peer copy");
  expect_success(cudaDeviceEnablePeerAccess(1, 0), "enable");
  expect_error(cudaDeviceEnablePeerAccess(1, 0), cudaErrorPeerAccessAlreadyEnabled);
  increment<<<1, 1>>>(there);
  expect_synchronised();
  int value = 0;
  expect_success(cudaMemcpy(&value, there, sizeof value, cudaMemcpyDeviceToHost), "copy");
  EXPECT_EQ(value, 8);
  expect_success(cudaDeviceDisablePeerAccess(1), "disable");
  expect_error(cudaDeviceDisablePeerAccess(1), cudaErrorPeerAccessNotEnabled);
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "an illegal access would end the process";
  }
  increment<<<1, 1>>>(there);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(taken(CUDASIM_UNALLOCATED), 1u);
  EXPECT_EQ(cudaFree(there), cudaErrorIllegalAddress) << "the error is sticky";
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  cudasim_clear_error();
  expect_success(cudaFree(there), "free");
}

}  // namespace
