// SPDX-License-Identifier: Apache-2.0
//
// Memory that host and devices share: allocated pinned, registered, managed with advice and
// prefetches; copies of all kinds; batches; pools of host memory. Right use and wrong use.
#include "support.cuh"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>

namespace {

constexpr std::size_t page = 4096;

__global__ void increment(int* p) {
  *p += 1;
}
__global__ void copy_int(int* to, const int* from) {
  *to = *from;
}

void expect_error(cudaError_t error, cudaError_t expected) {
  EXPECT_EQ(error, expected) << cudaGetErrorName(error);
  EXPECT_EQ(cudaGetLastError(), expected);
}

// Pages of the host with chosen rights.
class pages {
 public:
  explicit pages(std::size_t count, int rights = PROT_READ | PROT_WRITE)
      : bytes_(count * page),
        at_(mmap(nullptr, bytes_, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  pages(const pages&) = delete;
  pages& operator=(const pages&) = delete;
  ~pages() { munmap(at_, bytes_); }
  int* data() const { return static_cast<int*>(at_); }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
  void* at_;
};

TEST(PinnedMemory, FlagsAreKeptAndChecked) {
  void* p = nullptr;
  const unsigned flags = cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
  expect_success(cudaHostAlloc(&p, 100, flags), "allocate");
  unsigned got = 0;
  expect_success(cudaHostGetFlags(&got, p), "flags");
  EXPECT_EQ(got, flags);
  void* mapped = nullptr;
  expect_success(cudaHostGetDevicePointer(&mapped, p, 0), "device pointer");
  EXPECT_EQ(mapped, p) << "one address for all";
  expect_error(cudaHostGetDevicePointer(&mapped, p, 1), cudaErrorInvalidValue);
  expect_error(cudaFree(p), cudaErrorInvalidValue);
  expect_success(cudaFreeHost(p), "free");
  expect_error(cudaHostAlloc(&p, 100, 0x100), cudaErrorInvalidValue);
  expect_error(cudaHostAlloc(nullptr, 100, 0), cudaErrorInvalidValue);
  expect_error(cudaHostAlloc(&p, ~std::size_t{0}, 0), cudaErrorMemoryAllocation);
  int local = 0;
  expect_error(cudaHostGetDevicePointer(&mapped, &local, 0), cudaErrorInvalidValue);
}

TEST(RegisteredMemory, IsUsedByDevices) {
  pages memory(2);
  const unsigned flags = cudaHostRegisterPortable | cudaHostRegisterMapped;
  expect_success(cudaHostRegister(memory.data(), memory.bytes(), flags), "register");
  void* mapped = nullptr;
  expect_success(cudaHostGetDevicePointer(&mapped, memory.data(), 0), "device pointer");
  increment<<<1, 1>>>(static_cast<int*>(mapped));
  expect_synchronised();
  EXPECT_EQ(*memory.data(), 1);
  expect_success(cudaHostUnregister(memory.data()), "unregister");
  expect_error(cudaHostGetDevicePointer(&mapped, memory.data(), 0), cudaErrorInvalidValue);
}

TEST(RegisteredMemory, OverlapsAreRefused) {
  pages memory(4);
  char* const at = reinterpret_cast<char*>(memory.data());
  expect_success(cudaHostRegister(at + page, 2 * page, 0), "register");
  for (const std::size_t offset : {std::size_t{0}, page, 2 * page}) {
    expect_error(cudaHostRegister(at + offset, 2 * page, 0), cudaErrorHostMemoryAlreadyRegistered);
  }
  expect_error(cudaHostUnregister(at + 2 * page), cudaErrorHostMemoryNotRegistered);
  expect_error(cudaHostUnregister(at), cudaErrorHostMemoryNotRegistered);
  expect_success(cudaHostUnregister(at + page), "unregister");
  void* pinned = nullptr;
  expect_success(cudaMallocHost(&pinned, page), "pinned");
  expect_error(cudaHostRegister(pinned, page, 0), cudaErrorHostMemoryAlreadyRegistered);
  expect_error(cudaHostUnregister(pinned), cudaErrorHostMemoryNotRegistered);
  expect_success(cudaFreeHost(pinned), "free");
}

TEST(RegisteredMemory, BadMemoryIsRefused) {
  char* const hole = static_cast<char*>(
      mmap(nullptr, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  munmap(hole + page, page);
  expect_error(cudaHostRegister(hole, 3 * page, 0), cudaErrorInvalidValue);
  expect_error(cudaHostRegister(hole + page, page, 0), cudaErrorInvalidValue);
  expect_success(cudaHostRegister(hole, page, 0), "the part that is there");
  expect_success(cudaHostUnregister(hole), "unregister");
  munmap(hole, page);
  munmap(hole + 2 * page, page);
  pages memory(1);
  expect_error(cudaHostRegister(nullptr, page, 0), cudaErrorInvalidValue);
  expect_error(cudaHostRegister(memory.data(), 0, 0), cudaErrorInvalidValue);
  expect_error(cudaHostRegister(memory.data(), ~std::size_t{0}, 0), cudaErrorInvalidValue);
  expect_error(cudaHostRegister(memory.data(), page, 0x100), cudaErrorInvalidValue);
  expect_error(cudaHostRegister(memory.data(), page, cudaHostRegisterIoMemory),
               cudaErrorNotSupported);
  expect_error(cudaHostUnregister(nullptr), cudaErrorHostMemoryNotRegistered);
}

TEST(RegisteredMemory, ReadOnlyMemoryIsRead) {
  int supported = 0;
  cudaDeviceGetAttribute(&supported, cudaDevAttrHostRegisterReadOnlySupported, 0);
  if (supported == 0) {
    GTEST_SKIP() << "the device does not read read-only memory";
  }
  pages memory(1);
  *memory.data() = 7;
  mprotect(memory.data(), page, PROT_READ);
  expect_error(cudaHostRegister(memory.data(), page, 0), cudaErrorInvalidValue);
  expect_success(cudaHostRegister(memory.data(), page, cudaHostRegisterReadOnly), "register");
  buffer<int> out(1);
  copy_int<<<1, 1>>>(out.data(), memory.data());
  EXPECT_EQ(out.get()[0], 7);
  if (cudasim_is_present()) {
    cudasim_set_quiet(1);
    increment<<<1, 1>>>(memory.data());
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    EXPECT_EQ(taken(CUDASIM_UNALLOCATED), 1u);
    EXPECT_NE(latest_report().find("registered as read-only"), std::string::npos);
    cudasim_clear_error();
    cudasim_set_quiet(0);
  }
  expect_success(cudaHostUnregister(memory.data()), "unregister");
}

TEST(ManagedMemory, AdviceAndPlaceAreKept) {
  constexpr std::size_t bytes = 1 << 20;
  char* p = nullptr;
  expect_success(cudaMallocManaged(&p, bytes), "allocate");
  const cudaMemLocation device{cudaMemLocationTypeDevice, 0};
  const cudaMemLocation host{cudaMemLocationTypeHost, 0};
  const auto get = [&](cudaMemRangeAttribute which) {
    int value = -7;
    expect_success(cudaMemRangeGetAttribute(&value, sizeof value, which, p, bytes), "attribute");
    return value;
  };
  EXPECT_EQ(get(cudaMemRangeAttributePreferredLocation), cudaInvalidDeviceId);
  expect_success(cudaMemAdvise(p, bytes, cudaMemAdviseSetPreferredLocation, device), "advise");
  EXPECT_EQ(get(cudaMemRangeAttributePreferredLocation), 0);
  expect_success(cudaMemAdvise(p, bytes, cudaMemAdviseUnsetPreferredLocation, device), "advise");
  EXPECT_EQ(get(cudaMemRangeAttributePreferredLocation), cudaInvalidDeviceId);
  expect_success(cudaMemAdvise(p, bytes, cudaMemAdviseSetReadMostly, device), "advise");
  EXPECT_EQ(get(cudaMemRangeAttributeReadMostly), 1);
  expect_success(cudaMemAdvise(p, bytes, cudaMemAdviseSetAccessedBy, host), "advise");
  scoped_stream stream;
  expect_success(cudaMemPrefetchAsync(p, bytes, device, 0, stream), "prefetch");
  EXPECT_EQ(get(cudaMemRangeAttributeLastPrefetchLocation), 0);
  expect_success(cudaMemPrefetchAsync(p, bytes, host, 0, stream), "prefetch");
  EXPECT_EQ(get(cudaMemRangeAttributeLastPrefetchLocation), cudaCpuDeviceId);
  expect_error(cudaMemPrefetchAsync(p, bytes + 1, host, 0, stream), cudaErrorInvalidValue);
  expect_error(cudaMemPrefetchAsync(p, bytes, {cudaMemLocationTypeDevice, 9}, 0, stream),
               cudaErrorInvalidDevice);
  expect_error(cudaMemPrefetchAsync(p, bytes, {cudaMemLocationTypeHostNuma, 4096}, 0, stream),
               cudaErrorInvalidValue);
  expect_error(cudaMemPrefetchAsync(p, bytes, host, 1, stream), cudaErrorInvalidValue);
  expect_error(cudaMemAdvise(&device, 4, cudaMemAdviseSetReadMostly, device),
               cudaErrorInvalidValue);
  buffer<char> plain(16);
  expect_error(cudaMemPrefetchAsync(plain.data(), 16, host, 0, stream), cudaErrorInvalidValue);
  expect_success(cudaStreamSynchronize(stream), "synchronise");
  expect_success(cudaFree(p), "free");
  expect_error(cudaMallocManaged(&p, 16, 0x100), cudaErrorInvalidValue);
  expect_error(cudaMallocManaged(&p, 0), cudaErrorInvalidValue);
}

TEST(ManagedMemory, BatchesPrefetchEachRange) {
  constexpr std::size_t count = 3;
  scoped_stream stream;
  void* at[count] = {};
  std::size_t bytes[count] = {64, 4096, 100};
  for (std::size_t i = 0; i != count; ++i) {
    expect_success(cudaMallocManaged(&at[i], bytes[i]), "allocate");
  }
  cudaMemLocation places[] = {{cudaMemLocationTypeDevice, 0}, {cudaMemLocationTypeHost, 0}};
  std::size_t first_uses[] = {0, 2};
  expect_success(cudaMemPrefetchBatchAsync(at, bytes, count, places, first_uses, 2, 0, stream),
                 "prefetch");
  const int expected[count] = {0, 0, cudaCpuDeviceId};
  for (std::size_t i = 0; i != count; ++i) {
    int value = -7;
    expect_success(cudaMemRangeGetAttribute(&value, sizeof value,
                                            cudaMemRangeAttributeLastPrefetchLocation, at[i],
                                            bytes[i]),
                   "attribute");
    EXPECT_EQ(value, expected[i]) << i;
  }
  expect_success(
      cudaMemDiscardAndPrefetchBatchAsync(at, bytes, 1, places, first_uses, 1, 0, stream),
      "discard");
  expect_success(cudaMemDiscardBatchAsync(at + 1, bytes + 1, 1, 0, stream), "discard");
  expect_success(cudaStreamSynchronize(stream), "synchronise");
  if (cudasim_is_present()) {
    EXPECT_EQ(*static_cast<unsigned char*>(at[1]), 0xDDu);
  }
  std::size_t late[] = {1};
  expect_error(cudaMemPrefetchBatchAsync(at, bytes, count, places, late, 1, 0, stream),
               cudaErrorInvalidValue);
  expect_error(cudaMemPrefetchBatchAsync(nullptr, bytes, count, places, first_uses, 2, 0, stream),
               cudaErrorInvalidValue);
  for (void* const each : at) {
    expect_success(cudaFree(each), "free");
  }
}

TEST(Copies, GoBetweenAllKindsOfMemory) {
  scoped_stream stream;
  buffer<int> device(1);
  pages registered(1);
  expect_success(cudaHostRegister(registered.data(), page, 0), "register");
  int* pinned = nullptr;
  int* managed = nullptr;
  expect_success(cudaMallocHost(&pinned, sizeof *pinned), "pinned");
  expect_success(cudaMallocManaged(&managed, sizeof *managed), "managed");
  int local = 0;
  int* const all[] = {device.data(), registered.data(), pinned, managed, &local};
  int expected = 0;
  for (int* const from : all) {
    for (int* const to : all) {
      const int sent = ++expected;
      int received = 0;
      expect_success(cudaMemcpyAsync(from, &sent, sizeof sent, cudaMemcpyDefault, stream), "set");
      expect_success(cudaMemcpyAsync(to, from, sizeof sent, cudaMemcpyDefault, stream), "copy");
      expect_success(cudaMemcpyAsync(&received, to, sizeof sent, cudaMemcpyDefault, stream), "get");
      expect_success(cudaStreamSynchronize(stream), "synchronise");
      EXPECT_EQ(received, sent);
    }
  }
  expect_error(cudaMemsetAsync(&local, 0, sizeof local, stream), cudaErrorInvalidValue);
  expect_error(cudaMemcpyAsync(nullptr, &local, sizeof local, cudaMemcpyDefault, stream),
               cudaErrorInvalidValue);
  expect_success(cudaMemcpyAsync(nullptr, nullptr, 0, cudaMemcpyDefault, stream), "nothing");
  expect_success(cudaHostUnregister(registered.data()), "unregister");
  expect_success(cudaFreeHost(pinned), "pinned");
  expect_success(cudaFree(managed), "managed");
}

TEST(Copies, BatchesCopyEachPart) {
  constexpr std::size_t count = 3;
  scoped_stream stream;
  buffer<int> device(count);
  const int sent[count] = {3, 4, 5};
  int received[count] = {};
  void* there[count];
  void* here[count];
  const void* from[count];
  const void* sources[count];
  std::size_t bytes[count];
  for (std::size_t i = 0; i != count; ++i) {
    there[i] = device.data() + i;
    here[i] = received + count - 1 - i;
    from[i] = sent + i;
    sources[i] = device.data() + i;
    bytes[i] = sizeof(int);
  }
  cudaMemcpyAttributes attributes[2] = {};
  attributes[0].srcAccessOrder = cudaMemcpySrcAccessOrderStream;
  attributes[1].srcAccessOrder = cudaMemcpySrcAccessOrderDuringApiCall;
  std::size_t first_uses[] = {0, 1};
  expect_success(cudaMemcpyBatchAsync(there, from, bytes, count, attributes, first_uses, 2, stream),
                 "to");
  expect_success(
      cudaMemcpyBatchAsync(here, sources, bytes, count, attributes, first_uses, 1, stream), "from");
  expect_success(cudaStreamSynchronize(stream), "synchronise");
  EXPECT_EQ(received[0], 5);
  EXPECT_EQ(received[2], 3);
  expect_error(cudaMemcpyBatchAsync(there, from, bytes, count, attributes, first_uses, 1, nullptr),
               cudaErrorInvalidValue);
  std::size_t unsorted[] = {0, 0};
  expect_error(cudaMemcpyBatchAsync(there, from, bytes, count, attributes, unsorted, 2, stream),
               cudaErrorInvalidValue);
  attributes[0] = {};
  expect_error(cudaMemcpyBatchAsync(there, from, bytes, count, attributes, first_uses, 1, stream),
               cudaErrorInvalidValue);
  expect_error(cudaMemcpyBatchAsync(there, from, bytes, 0, attributes, first_uses, 1, stream),
               cudaErrorInvalidValue);
}

TEST(HostPools, AreMadeOnTheHostAndItsNodes) {
  scoped_stream stream;
  for (const cudaMemLocationType type : {cudaMemLocationTypeHost, cudaMemLocationTypeHostNuma}) {
    cudaMemPoolProps wanted{};
    wanted.allocType = cudaMemAllocationTypePinned;
    wanted.location = {type, 0};
    cudaMemPool_t pool = nullptr;
    expect_success(cudaMemPoolCreate(&pool, &wanted), "create");
    const cudaMemAccessDesc access{{cudaMemLocationTypeDevice, 0}, cudaMemAccessFlagsProtReadWrite};
    expect_success(cudaMemPoolSetAccess(pool, &access, 1), "access");
    int* p = nullptr;
    expect_success(cudaMallocFromPoolAsync(reinterpret_cast<void**>(&p), sizeof *p, pool, stream),
                   "allocate");
    expect_success(cudaMemsetAsync(p, 0, sizeof *p, stream), "fill");
    increment<<<1, 1, 0, stream>>>(p);
    expect_success(cudaStreamSynchronize(stream), "synchronise");
    EXPECT_EQ(*p, 1);
    expect_success(cudaFreeAsync(p, stream), "free");
    expect_success(cudaStreamSynchronize(stream), "synchronise");
    expect_error(cudaDeviceSetMemPool(0, pool), cudaErrorInvalidValue);
    cudaMemLocation device{cudaMemLocationTypeDevice, 0};
    expect_error(cudaMemSetMemPool(&device, cudaMemAllocationTypePinned, pool),
                 cudaErrorInvalidValue);
    cudaMemLocation own{type, 0};
    cudaMemPool_t usual = nullptr;
    cudaMemPool_t current = nullptr;
    expect_success(cudaMemGetDefaultMemPool(&usual, &own, cudaMemAllocationTypePinned), "usual");
    expect_success(cudaMemSetMemPool(&own, cudaMemAllocationTypePinned, pool), "set");
    expect_success(cudaMemGetMemPool(&current, &own, cudaMemAllocationTypePinned), "get");
    EXPECT_EQ(current, pool);
    expect_success(cudaMemSetMemPool(&own, cudaMemAllocationTypePinned, usual), "set");
    expect_success(cudaMemPoolDestroy(pool), "destroy");
  }
  cudaMemPoolProps wanted{};
  cudaMemPool_t pool = nullptr;
  wanted.allocType = cudaMemAllocationTypePinned;
  wanted.location = {cudaMemLocationTypeHostNuma, 4096};
  expect_error(cudaMemPoolCreate(&pool, &wanted), cudaErrorInvalidValue);
  wanted.location = {cudaMemLocationTypeDevice, 64};
  expect_error(cudaMemPoolCreate(&pool, &wanted), cudaErrorInvalidDevice);
  wanted.location = {cudaMemLocationTypeDevice, 0};
  wanted.allocType = cudaMemAllocationTypeInvalid;
  expect_error(cudaMemPoolCreate(&pool, &wanted), cudaErrorInvalidValue);
  expect_error(cudaMemPoolCreate(&pool, nullptr), cudaErrorInvalidValue);
}

}  // namespace
