// SPDX-License-Identifier: Apache-2.0
//
// Pools of stream-ordered memory that two processes share: the pool goes over as a file descriptor,
// each allocation as 64 bytes.
#include "peer.hpp"
#include "support.cuh"

#include <fcntl.h>
#include <sys/stat.h>

#include <future>

namespace {

constexpr int count = 1000;
constexpr std::size_t bytes = count * sizeof(int);
constexpr auto by_descriptor = cudaMemHandleTypePosixFileDescriptor;

__global__ void add(int* p, int n, int value) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    p[i] += value;
  }
}

class shared_pool {
 public:
  shared_pool() : shared_pool(cudaMemLocationTypeDevice) {}
  explicit shared_pool(cudaMemLocationType where) {
    cudaMemPoolProps wanted{};
    wanted.allocType = cudaMemAllocationTypePinned;
    wanted.location = {where, 0};
    wanted.handleTypes = by_descriptor;
    expect_success(cudaMemPoolCreate(&made_, &wanted), "cudaMemPoolCreate");
  }
  // Imports what the descriptor stands for, and closes the descriptor.
  explicit shared_pool(int descriptor) {
    expect_success(cudaMemPoolImportFromShareableHandle(
                       &made_, reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor)),
                       by_descriptor, 0),
                   "cudaMemPoolImportFromShareableHandle");
    close(descriptor);
  }
  shared_pool(const shared_pool&) = delete;
  shared_pool& operator=(const shared_pool&) = delete;
  ~shared_pool() { expect_success(cudaMemPoolDestroy(made_), "cudaMemPoolDestroy"); }
  operator cudaMemPool_t() const { return made_; }

  int descriptor() const {
    int out = -1;
    expect_success(cudaMemPoolExportToShareableHandle(&out, made_, by_descriptor, 0),
                   "cudaMemPoolExportToShareableHandle");
    return out;
  }
  int* allocate(int value) const {
    int* made = nullptr;
    expect_success(cudaMallocFromPoolAsync(&made, bytes, made_, nullptr), "allocate");
    expect_success(cudaMemsetAsync(made, 0, bytes, nullptr), "fill");
    add<<<1, 64>>>(made, count, value);
    return made;
  }
  int* import(cudaMemPoolPtrExportData data) const {
    void* out = nullptr;
    expect_success(cudaMemPoolImportPointer(&out, made_, &data), "cudaMemPoolImportPointer");
    return static_cast<int*>(out);
  }
  std::uint64_t attribute(cudaMemPoolAttr which) const {
    std::uint64_t value = 0;
    expect_success(cudaMemPoolGetAttribute(made_, which, &value), "cudaMemPoolGetAttribute");
    return value;
  }

 private:
  cudaMemPool_t made_ = nullptr;
};

cudaMemPoolPtrExportData data_of(int* address) {
  cudaMemPoolPtrExportData made;
  expect_success(cudaMemPoolExportPointer(&made, address), "cudaMemPoolExportPointer");
  return made;
}

void send_pool(const channel& to, const shared_pool& made) {
  const int descriptor = made.descriptor();
  to.send_descriptor(descriptor);
  close(descriptor);
}

class SharedPool : public first_process {};
class PoolPeer : public second_process {};

TEST_F(PoolPeer, DISABLED_AddsToPooled) {
  const shared_pool imported(parent.receive_descriptor());
  int* const first = imported.import(parent.receive<cudaMemPoolPtrExportData>());
  int* const second = imported.import(parent.receive<cudaMemPoolPtrExportData>());
  EXPECT_EQ(values_at(first, count), std::vector<int>(count, 5));
  add<<<1, 64>>>(first, count, 1);
  add<<<1, 64>>>(second, count, 1);
  EXPECT_EQ(imported.attribute(cudaMemPoolAttrUsedMemCurrent), 2 * bytes);
  expect_success(cudaFreeAsync(first, nullptr), "cudaFreeAsync");
  expect_success(cudaFree(second), "cudaFree");
  expect_synchronised();
  EXPECT_EQ(imported.attribute(cudaMemPoolAttrUsedMemCurrent), 0u);
  parent.signal();
  parent.await();

  // Nothing is allocated from what is imported, and nothing of it is exported again.
  void* made = nullptr;
  EXPECT_EQ(cudaMallocFromPoolAsync(&made, 64, imported, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaDeviceSetMemPool(0, imported), cudaErrorInvalidValue);
  int descriptor = -1;
  EXPECT_EQ(cudaMemPoolExportToShareableHandle(&descriptor, imported, by_descriptor, 0),
            cudaErrorInvalidValue);
  int* const third = imported.import(parent.receive<cudaMemPoolPtrExportData>());
  EXPECT_EQ(values_at(third, count), std::vector<int>(count, 9)) << "where the freed memory was";
  cudaMemPoolPtrExportData data;
  EXPECT_EQ(cudaMemPoolExportPointer(&data, third), cudaErrorInvalidValue);
  cudaIpcMemHandle_t handle;
  EXPECT_EQ(cudaIpcGetMemHandle(&handle, third), cudaErrorInvalidValue);
  EXPECT_EQ(cudaIpcCloseMemHandle(third), cudaErrorInvalidValue);
  expect_success(cudaFree(third), "cudaFree");
}
TEST_F(SharedPool, MemoryOfAPoolIsSharedBothWays) {
  const shared_pool made;
  int* const first = made.allocate(5);
  int* const second = made.allocate(7);
  expect_synchronised();
  peer other("AddsToPooled");
  send_pool(other, made);
  other.send(data_of(first));
  other.send(data_of(second));
  other.await();
  EXPECT_EQ(values_at(first, count), std::vector<int>(count, 6));
  EXPECT_EQ(values_at(second, count), std::vector<int>(count, 8));
  expect_success(cudaFree(first), "cudaFree");
  expect_success(cudaFree(second), "cudaFree");
  expect_success(cudaMemPoolTrimTo(made, 0), "trim");
  EXPECT_EQ(made.attribute(cudaMemPoolAttrReservedMemCurrent), 0u);
  int* const third = made.allocate(9);
  expect_synchronised();
  other.signal();
  other.send(data_of(third));
  other.join();
  expect_success(cudaFree(third), "cudaFree");
}

TEST_F(SharedPool, ItsOwnProcessMayImportIt) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "the manual does not say so";
  }
  for (const auto where : {cudaMemLocationTypeDevice, cudaMemLocationTypeHost}) {
    const shared_pool made(where);
    int* const kept = made.allocate(5);
    const shared_pool imported(made.descriptor());
    int* const seen = imported.import(data_of(kept));
    EXPECT_NE(seen, kept);
    expect_synchronised();
    EXPECT_EQ(values_at(seen, count), std::vector<int>(count, 5));
    add<<<1, 64>>>(seen, count, 1);
    expect_success(cudaFreeAsync(seen, nullptr), "cudaFreeAsync");
    EXPECT_EQ(values_at(kept, count), std::vector<int>(count, 6));
    expect_success(cudaFreeAsync(kept, nullptr), "cudaFreeAsync");
    expect_synchronised();
  }
}

// Blocks of the file system that the memory behind a descriptor takes.
long blocks_of(int descriptor) {
  struct stat about {};
  EXPECT_EQ(fstat(descriptor, &about), 0);
  return static_cast<long>(about.st_blocks);
}

TEST_F(SharedPool, TrimmedMemoryIsSharedNoMore) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "a device's descriptor is no file";
  }
  const shared_pool made;
  const int descriptor = made.descriptor();
  int* const first = made.allocate(5);
  expect_synchronised();
  const long with_memory = blocks_of(descriptor);
  expect_success(cudaFree(first), "cudaFree");
  expect_success(cudaMemPoolTrimTo(made, 0), "trim");
  const long without = blocks_of(descriptor);
  EXPECT_LT(without, with_memory);
  buffer<char> over_its_place(std::size_t{8} << 20);
  over_its_place.fill(6);
  const auto offset = reinterpret_cast<char*>(first) - over_its_place.data();
  EXPECT_LT(static_cast<std::size_t>(offset), over_its_place.size()) << "first fit takes it";
  EXPECT_EQ(blocks_of(descriptor), without) << "what is not the pool's is not in its file";
  close(descriptor);
}

TEST_F(PoolPeer, DISABLED_ImportsBadly) {
  const shared_pool imported(parent.receive_descriptor());
  void* out = nullptr;
  auto stale = parent.receive<cudaMemPoolPtrExportData>();
  auto of_another = parent.receive<cudaMemPoolPtrExportData>();
  auto good = parent.receive<cudaMemPoolPtrExportData>();
  cudaMemPoolPtrExportData zero{};
  EXPECT_EQ(cudaMemPoolImportPointer(&out, imported, &stale), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolImportPointer(&out, imported, &of_another), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolImportPointer(&out, imported, &zero), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolImportPointer(&out, imported, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolImportPointer(nullptr, imported, &good), cudaErrorInvalidValue);
  const shared_pool own;
  EXPECT_EQ(cudaMemPoolImportPointer(&out, own, &good), cudaErrorInvalidValue);
  for (std::size_t i = 0; i != sizeof good; ++i) {  // never a crash, whatever the bytes are
    cudaMemPoolPtrExportData broken = good;
    broken.reserved[i] = static_cast<unsigned char>(broken.reserved[i] ^ 0x55);
    if (cudaMemPoolImportPointer(&out, imported, &broken) == cudaSuccess) {
      EXPECT_EQ(cudaFree(out), cudaSuccess) << "byte " << i;
    }
  }
}
TEST_F(SharedPool, BadArgumentsAreRefused) {
  const shared_pool made;
  const shared_pool another;
  int* const gone = made.allocate(1);
  int* const kept = made.allocate(2);
  int* const elsewhere = another.allocate(3);
  expect_synchronised();
  cudaMemPoolPtrExportData data;
  int descriptor = -1;
  EXPECT_EQ(cudaMemPoolExportPointer(nullptr, kept), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolExportPointer(&data, kept + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolExportPointer(&data, buffer<int>(1).data()), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolExportToShareableHandle(nullptr, made, by_descriptor, 0),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolExportToShareableHandle(&descriptor, made, by_descriptor, 1),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolExportToShareableHandle(&descriptor, made, cudaMemHandleTypeFabric, 0),
            cudaErrorInvalidValue);
  cudaMemPool_t usual = nullptr;
  expect_success(cudaDeviceGetDefaultMemPool(&usual, 0), "cudaDeviceGetDefaultMemPool");
  EXPECT_EQ(cudaMemPoolExportToShareableHandle(&descriptor, usual, by_descriptor, 0),
            cudaErrorInvalidValue);
  cudaMemPool_t none = nullptr;
  const auto import_file = [&](int file) {
    return cudaMemPoolImportFromShareableHandle(
        &none, reinterpret_cast<void*>(static_cast<std::intptr_t>(file)), by_descriptor, 0);
  };
  const int null_device = open("/dev/null", O_RDWR | O_CLOEXEC);
  const int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  for (const int file : {-1, 1 << 20, null_device, program}) {
    EXPECT_EQ(import_file(file), cudaErrorInvalidValue) << file;
  }
  close(null_device);
  close(program);

  peer other("ImportsBadly");
  send_pool(other, made);
  other.send(data_of(gone));
  expect_success(cudaFree(gone), "cudaFree");
  other.send(data_of(elsewhere));
  other.send(data_of(kept));
  other.join();
  expect_success(cudaFree(kept), "cudaFree");
  expect_success(cudaFree(elsewhere), "cudaFree");
}

TEST_F(PoolPeer, DISABLED_UsesTooEarlyAndTooLate) {
  const shared_pool imported(parent.receive_descriptor());
  int* const early = imported.import(parent.receive<cudaMemPoolPtrExportData>());
  cudasim_set_quiet(1);
  add<<<1, 64>>>(early, count, 1);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(taken(CUDASIM_USE_BEFORE_ALLOCATION), 1u);
  cudasim_clear_error();
  parent.signal();
  parent.await();
  add<<<1, 64>>>(early, count, 1);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(taken(CUDASIM_USE_AFTER_FREE), 1u);
  cudasim_clear_error();
  expect_success(cudaFree(early), "cudaFree");
  EXPECT_EQ(taken(CUDASIM_USE_AFTER_FREE), 1u) << "to be freed before its owner frees it";
}
TEST_F(SharedPool, UsesOutsideOfTheOwnersAllocationAreReported) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "undefined on a device";
  }
  const shared_pool made;
  {
    scoped_stream order;
    std::promise<void> opened;
    std::future<void> gate = opened.get_future();
    // A stream that another process may look at runs on a thread, in every mode.
    cudaEvent_t shared = nullptr;
    cudaIpcEventHandle_t handle;
    cudaEventCreateWithFlags(&shared, cudaEventInterprocess | cudaEventDisableTiming);
    expect_success(cudaIpcGetEventHandle(&handle, shared), "cudaIpcGetEventHandle");
    const auto pass = [](void* at) { static_cast<std::future<void>*>(at)->wait(); };
    expect_success(cudaLaunchHostFunc(order, pass, &gate), "cudaLaunchHostFunc");
    int* late = nullptr;
    expect_success(cudaMallocFromPoolAsync(&late, bytes, made, order), "allocate");
    peer other("UsesTooEarlyAndTooLate");
    send_pool(other, made);
    other.send(data_of(late));
    other.await();
    opened.set_value();
    expect_success(cudaFreeAsync(late, order), "cudaFreeAsync");
    expect_success(cudaStreamSynchronize(order), "synchronise");
    other.signal();
    other.join();
    expect_success(cudaEventDestroy(shared), "cudaEventDestroy");
  }
}

}  // namespace
