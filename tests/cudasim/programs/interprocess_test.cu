// SPDX-License-Identifier: Apache-2.0
//
// Memory of cudaMalloc and events that two processes share. What the second process does stands
// in a disabled test, above the test that starts it.
#include "peer.hpp"
#include "support.cuh"

#include <cstring>

namespace {

constexpr int count = 1000;

__global__ void add(int* p, int n, int value) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    p[i] += value;
  }
}

std::vector<int> same(int value) {
  return std::vector<int>(count, value);
}

cudaIpcMemHandle_t handle_of(void* address) {
  cudaIpcMemHandle_t made;
  expect_success(cudaIpcGetMemHandle(&made, address), "cudaIpcGetMemHandle");
  return made;
}

cudaError_t open_handle(int** out, const cudaIpcMemHandle_t& handle,
                        unsigned flags = cudaIpcMemLazyEnablePeerAccess) {
  return cudaIpcOpenMemHandle(reinterpret_cast<void**>(out), handle, flags);
}

class Interprocess : public first_process {};
class Peer : public second_process {};

TEST_F(Peer, DISABLED_AddsOne) {
  int* shared = nullptr;
  const auto handle = parent.receive<cudaIpcMemHandle_t>();
  expect_success(open_handle(&shared, handle), "open");
  EXPECT_EQ(values_at(shared, count), same(5));
  add<<<4, 64>>>(shared, count, 1);
  expect_synchronised();
  expect_success(cudaIpcCloseMemHandle(shared), "close");
}
TEST_F(Interprocess, MemoryIsSharedBothWays) {
  buffer<char> beside(1);  // so that what is shared does not begin a page
  buffer<int> mine(same(5));
  peer other("AddsOne");
  other.send(handle_of(mine.data()));
  other.join();
  EXPECT_EQ(mine.get(), same(6));
}

TEST_F(Peer, DISABLED_LeavesTheBounds) {
  int* shared = nullptr;
  expect_success(open_handle(&shared, parent.receive<cudaIpcMemHandle_t>()), "open");
  if (cudasim_is_present()) {
    cudasim_set_quiet(1);
    add<<<1, 32>>>(shared, count + 1, 1);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    EXPECT_EQ(taken(CUDASIM_OUT_OF_BOUNDS), 1u);
    cudasim_clear_error();
    expect_synchronised();  // with an error pending nothing waits
  }
  expect_success(cudaIpcCloseMemHandle(shared), "close");
}
TEST_F(Interprocess, BoundsAreThoseOfTheOwnersAllocation) {
  buffer<int> mine(same(5));
  peer other("LeavesTheBounds");
  other.send(handle_of(mine.data()));
}

TEST_F(Peer, DISABLED_OpensTwice) {
  const auto handle = parent.receive<cudaIpcMemHandle_t>();
  int* first = nullptr;
  int* second = nullptr;
  expect_success(open_handle(&first, handle), "open");
  expect_success(open_handle(&second, handle), "open again");
  EXPECT_EQ(first, second);
  EXPECT_EQ(cudaIpcCloseMemHandle(first + 1), cudaErrorInvalidValue) << "not where it begins";
  expect_success(cudaIpcCloseMemHandle(first), "close");
  EXPECT_EQ(values_at(second, count), same(5));
  EXPECT_EQ(cudaFree(first), cudaErrorInvalidValue) << "it is to be closed";
  EXPECT_EQ(cudaFreeAsync(first, nullptr), cudaErrorInvalidValue) << "it is to be closed";
  cudaIpcMemHandle_t again;
  EXPECT_EQ(cudaIpcGetMemHandle(&again, first), cudaErrorInvalidValue) << "it is not ours";
  expect_success(cudaIpcCloseMemHandle(second), "close the last time");
  EXPECT_EQ(cudaIpcCloseMemHandle(second), cudaErrorInvalidValue) << "it is closed";
}
TEST_F(Interprocess, OpeningIsCounted) {
  buffer<int> mine(same(5));
  peer other("OpensTwice");
  other.send(handle_of(mine.data()));
}

TEST_F(Peer, DISABLED_OpensWhatIsGone) {
  int* shared = nullptr;
  const auto old = parent.receive<cudaIpcMemHandle_t>();
  EXPECT_EQ(open_handle(&shared, old), cudaErrorMapBufferObjectFailed);
  EXPECT_EQ(shared, nullptr);
  const auto fresh = parent.receive<cudaIpcMemHandle_t>();
  EXPECT_NE(std::memcmp(&old, &fresh, sizeof old), 0) << "other memory at the same address";
  expect_success(open_handle(&shared, fresh), "open");
  EXPECT_EQ(values_at(shared, count), same(7));
  parent.send(handle_of(buffer<int>(1).data()));
  expect_success(cudaIpcCloseMemHandle(shared), "close");
}
TEST_F(Interprocess, StaleHandlesAreRefused) {
  cudaIpcMemHandle_t handle;
  {
    buffer<int> mine(same(5));
    handle = handle_of(mine.data());
    const auto again = handle_of(mine.data());
    EXPECT_EQ(std::memcmp(&handle, &again, sizeof handle), 0);
  }
  peer other("OpensWhatIsGone");
  other.send(handle);
  buffer<int> next(same(7));
  other.send(handle_of(next.data()));
  const auto of_the_dead = other.receive<cudaIpcMemHandle_t>();
  other.join();
  int* shared = nullptr;
  EXPECT_EQ(open_handle(&shared, of_the_dead), cudaErrorMapBufferObjectFailed);
}

TEST_F(Peer, DISABLED_OpensBadly) {
  const auto handle = parent.receive<cudaIpcMemHandle_t>();
  int* shared = nullptr;
  EXPECT_EQ(open_handle(&shared, handle, 0), cudaErrorInvalidValue) << "flags";
  EXPECT_EQ(cudaIpcOpenMemHandle(nullptr, handle, cudaIpcMemLazyEnablePeerAccess),
            cudaErrorInvalidValue);
  for (std::size_t i = 0; i != sizeof handle; ++i) {  // never a crash, whatever the bytes are
    cudaIpcMemHandle_t broken = handle;
    broken.reserved[i] = static_cast<char>(broken.reserved[i] ^ 0x55);
    if (open_handle(&shared, broken) == cudaSuccess) {
      EXPECT_EQ(cudaIpcCloseMemHandle(shared), cudaSuccess) << "byte " << i;
    }
  }
  cudaIpcMemHandle_t zero{};
  EXPECT_EQ(open_handle(&shared, zero), cudaErrorInvalidResourceHandle);
}
TEST_F(Interprocess, BadArgumentsAreRefused) {
  buffer<int> mine(same(5));
  const cudaIpcMemHandle_t handle = handle_of(mine.data());
  int* shared = nullptr;
  EXPECT_EQ(open_handle(&shared, handle), cudaErrorDeviceUninitialized) << "in its own process";
  cudaIpcMemHandle_t unused;
  EXPECT_EQ(cudaIpcGetMemHandle(nullptr, mine.data()), cudaErrorInvalidValue);
  EXPECT_EQ(cudaIpcGetMemHandle(&unused, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaIpcGetMemHandle(&unused, mine.data() + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaIpcGetMemHandle(&unused, &unused), cudaErrorInvalidValue);
  EXPECT_EQ(cudaIpcCloseMemHandle(mine.data()), cudaErrorInvalidValue) << "never opened";
  void* pooled = nullptr;
  void* pinned = nullptr;
  expect_success(cudaMallocAsync(&pooled, 64, nullptr), "cudaMallocAsync");
  expect_success(cudaMallocHost(&pinned, 64), "cudaMallocHost");
  EXPECT_EQ(cudaIpcGetMemHandle(&unused, pooled), cudaErrorInvalidValue) << "of a pool";
  EXPECT_EQ(cudaIpcGetMemHandle(&unused, pinned), cudaErrorInvalidValue) << "of the host";
  expect_success(cudaFreeAsync(pooled, nullptr), "cudaFreeAsync");
  expect_success(cudaFreeHost(pinned), "cudaFreeHost");
  peer other("OpensBadly");
  other.send(handle);
}

TEST_F(Peer, DISABLED_UsesWhatItsOwnerFreed) {
  int* shared = nullptr;
  expect_success(open_handle(&shared, parent.receive<cudaIpcMemHandle_t>()), "open");
  parent.signal();
  parent.await();
  cudasim_set_quiet(1);
  add<<<1, 32>>>(shared, count, 1);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(taken(CUDASIM_USE_AFTER_FREE), 1u);
  cudasim_clear_error();
  expect_success(cudaIpcCloseMemHandle(shared), "close");
  EXPECT_EQ(taken(CUDASIM_USE_AFTER_FREE), 1u) << "to be closed before it is freed";
}
TEST_F(Interprocess, UseAfterTheOwnersFreeIsReported) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "undefined on a device";
  }
  peer other("UsesWhatItsOwnerFreed");
  {
    buffer<int> mine(same(5));
    other.send(handle_of(mine.data()));
    other.await();
  }
  other.signal();
}

TEST_F(Peer, DISABLED_ClosesUnderAKernel) {
  int* shared = nullptr;
  expect_success(open_handle(&shared, parent.receive<cudaIpcMemHandle_t>()), "open");
  cudasim_set_quiet(1);
  add<<<1, 32>>>(shared, count, 1);
  expect_success(cudaIpcCloseMemHandle(shared), "close");
  cudaDeviceSynchronize();
  EXPECT_EQ(taken(CUDASIM_UNORDERED_FREE) + taken(CUDASIM_USE_AFTER_FREE), 1u);
  cudasim_clear_error();
}
TEST_F(Interprocess, ClosingUnderAKernelIsReported) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "undefined on a device";
  }
  buffer<int> mine(same(5));
  peer other("ClosesUnderAKernel");
  other.send(handle_of(mine.data()));
}

TEST_F(Peer, DISABLED_IsOnAnotherDevice) {
  const auto handle = parent.receive<cudaIpcMemHandle_t>();
  const bool is_reached = parent.receive<bool>();
  int* shared = nullptr;
  if (!is_reached) {
    EXPECT_EQ(open_handle(&shared, handle), cudaErrorMapBufferObjectFailed);
    return;
  }
  expect_success(open_handle(&shared, handle), "open");
  cudaPointerAttributes about{};
  expect_success(cudaPointerGetAttributes(&about, shared), "attributes");
  EXPECT_EQ(about.device, 1);
  EXPECT_EQ(about.type, cudaMemoryTypeDevice);
  add<<<1, 32>>>(shared, count, 1);
  expect_synchronised();
  expect_success(cudaIpcCloseMemHandle(shared), "close");
}
TEST_F(Interprocess, MemoryOfAnotherDeviceIsReachedAsAPeers) {
  int devices = 0;
  cudaGetDeviceCount(&devices);
  if (devices < 2 || !cudasim_is_present()) {
    GTEST_SKIP() << "two devices that are peers are needed";
  }
  expect_success(cudaSetDevice(1), "cudaSetDevice");
  {
    buffer<int> mine(same(5));
    for (const std::string without : {"", "CUDASIM_WITHOUT=peers", "CUDASIM_DEVICES=1"}) {
      peer other("IsOnAnotherDevice", {without.empty() ? "CUDASIM_WITHOUT=" : without});
      other.send(handle_of(mine.data()));
      other.send(without.empty());
    }
    EXPECT_EQ(mine.get(), same(6));
  }
  expect_success(cudaSetDevice(0), "cudaSetDevice");
}

TEST_F(Peer, DISABLED_HasNoInterprocess) {
  int can = -1;
  expect_success(cudaDeviceGetAttribute(&can, cudaDevAttrIpcEventSupport, 0), "attribute");
  EXPECT_EQ(can, 0);
  buffer<int> mine(1);
  cudaIpcMemHandle_t handle{};
  cudaEvent_t event = nullptr;
  EXPECT_EQ(cudaIpcGetMemHandle(&handle, mine.data()), cudaErrorNotSupported);
  EXPECT_EQ(cudaEventCreateWithFlags(&event, cudaEventInterprocess | cudaEventDisableTiming),
            cudaErrorNotSupported);
  cudaMemPoolProps wanted{};
  wanted.allocType = cudaMemAllocationTypePinned;
  wanted.location = {cudaMemLocationTypeDevice, 0};
  wanted.handleTypes = cudaMemHandleTypePosixFileDescriptor;
  cudaMemPool_t pool = nullptr;
  EXPECT_EQ(cudaMemPoolCreate(&pool, &wanted), cudaErrorNotSupported);
}
TEST_F(Interprocess, ADeviceWithoutItSaysSo) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "a device has it";
  }
  peer("HasNoInterprocess", {"CUDASIM_WITHOUT=ipc"}).join();
}

}  // namespace
