// SPDX-License-Identifier: Apache-2.0
//
// Virtual memory management.
#include "virtual_functions.cuh"

namespace {

__global__ void fill(int* p, int n, int value) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    p[i] = value + i;
  }
}

class VirtualMemory : public ::testing::Test, protected virtual_functions {
 protected:
  VirtualMemory() {
    wanted_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    wanted_.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    EXPECT_EQ(granularity(&step_, &wanted_, CU_MEM_ALLOC_GRANULARITY_MINIMUM), CUDA_SUCCESS);
  }
  CUdeviceptr reserve_steps(std::size_t count) {
    CUdeviceptr address = 0;
    EXPECT_EQ(reserve(&address, count * step_, 0, 0, 0), CUDA_SUCCESS);
    return address;
  }
  CUmemGenericAllocationHandle make() {
    CUmemGenericAllocationHandle made = 0;
    EXPECT_EQ(create(&made, step_, &wanted_, 0), CUDA_SUCCESS);
    return made;
  }
  void map_step(CUdeviceptr address, CUmemGenericAllocationHandle memory) {
    const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, 0},
                                 CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    EXPECT_EQ(map(address, step_, 0, memory, 0), CUDA_SUCCESS);
    EXPECT_EQ(set_access(address, step_, &access, 1), CUDA_SUCCESS);
  }

  decltype(&cuMemRetainAllocationHandle) retain =
      entry("cuMemRetainAllocationHandle", &cuMemRetainAllocationHandle);
  decltype(&cuMemGetAllocationPropertiesFromHandle) properties =
      entry("cuMemGetAllocationPropertiesFromHandle", &cuMemGetAllocationPropertiesFromHandle);
  decltype(&cuMemGetAddressRange) address_range =
      entry("cuMemGetAddressRange", &cuMemGetAddressRange);
  CUmemAllocationProp wanted_{};
  std::size_t step_ = 0;
};

TEST_F(VirtualMemory, MemoryMovesBetweenAddresses) {
  const CUdeviceptr first = reserve_steps(8);
  const CUdeviceptr second = reserve_steps(4);
  const CUmemGenericAllocationHandle memory[2] = {make(), make()};
  map_step(first, memory[0]);
  map_step(first + step_, memory[1]);
  const int n = static_cast<int>(step_ / sizeof(int));
  fill<<<1, 256>>>(reinterpret_cast<int*>(first), n, 5);
  fill<<<1, 256>>>(reinterpret_cast<int*>(first + step_), n, 9);
  expect_synchronised();
  EXPECT_EQ(free_address(first, 8 * step_), CUDA_ERROR_INVALID_VALUE) << "it is mapped";
  EXPECT_EQ(unmap(first, 2 * step_), CUDA_SUCCESS);
  map_step(second + step_, memory[1]);
  int values[2] = {};
  expect_success(cudaMemcpy(values, reinterpret_cast<int*>(second + step_) + 100, sizeof values,
                            cudaMemcpyDeviceToHost),
                 "copy");
  EXPECT_EQ(values[0], 109);
  EXPECT_EQ(values[1], 110);
  EXPECT_EQ(unmap(second + step_, step_), CUDA_SUCCESS);
  std::size_t free_before = 0;
  std::size_t free_after = 0;
  std::size_t total = 0;
  cudaMemGetInfo(&free_before, &total);
  for (const CUmemGenericAllocationHandle each : memory) {
    EXPECT_EQ(release(each), CUDA_SUCCESS);
  }
  cudaMemGetInfo(&free_after, &total);
  EXPECT_EQ(free_after - free_before, 2 * step_);
  EXPECT_EQ(free_address(first, 8 * step_), CUDA_SUCCESS);
  EXPECT_EQ(free_address(second, 4 * step_), CUDA_SUCCESS);
  cudaGetLastError();
}

TEST_F(VirtualMemory, KernelsPassFromOneMappingToTheNext) {
  const CUdeviceptr address = reserve_steps(4);
  const CUmemGenericAllocationHandle memory[3] = {make(), make(), make()};
  for (int i = 0; i != 3; ++i) {
    map_step(address + i * step_, memory[i]);
    EXPECT_EQ(release(memory[i]), CUDA_SUCCESS) << "the mapping keeps it";
  }
  const int n = static_cast<int>(3 * step_ / sizeof(int));
  fill<<<1, 256>>>(reinterpret_cast<int*>(address), n, 5);
  expect_synchronised();
  EXPECT_EQ(unmap(address + step_, step_), CUDA_SUCCESS);
  EXPECT_EQ(values_at(reinterpret_cast<int*>(address + 2 * step_), 1)[0],
            5 + static_cast<int>(2 * step_ / sizeof(int)));
  EXPECT_EQ(values_at(reinterpret_cast<int*>(address), 3)[2], 7);
  EXPECT_EQ(unmap(address, 3 * step_), CUDA_ERROR_INVALID_VALUE) << "there is a hole";
  EXPECT_EQ(unmap(address, step_), CUDA_SUCCESS);
  EXPECT_EQ(unmap(address + 2 * step_, step_), CUDA_SUCCESS);
  EXPECT_EQ(free_address(address, 4 * step_), CUDA_SUCCESS);
  cudaGetLastError();
}

TEST_F(VirtualMemory, AccessBehindAnUnmappedPartIsFound) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "a real device is lost by it";
  }
  cudasim_set_quiet(1);
  const CUdeviceptr address = reserve_steps(2);
  const CUmemGenericAllocationHandle memory[2] = {make(), make()};
  map_step(address, memory[0]);
  map_step(address + step_, memory[1]);
  EXPECT_EQ(unmap(address + step_, step_), CUDA_SUCCESS);
  fill<<<1, 256>>>(reinterpret_cast<int*>(address), static_cast<int>(step_ / sizeof(int)) + 1, 5);
  EXPECT_NE(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(taken(CUDASIM_USE_AFTER_FREE) + taken(CUDASIM_OUT_OF_BOUNDS), 1u);
  cudasim_clear_error();
  expect_synchronised();
  cudasim_set_quiet(0);
  EXPECT_EQ(unmap(address, step_), CUDA_SUCCESS);
  EXPECT_EQ(free_address(address, 2 * step_), CUDA_SUCCESS);
  EXPECT_EQ(release(memory[0]), CUDA_SUCCESS);
  EXPECT_EQ(release(memory[1]), CUDA_SUCCESS);
}

TEST_F(VirtualMemory, UnmappingUnderAKernelIsReported) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "a real driver says nothing";
  }
  cudasim_set_quiet(1);
  const CUdeviceptr address = reserve_steps(1);
  const CUmemGenericAllocationHandle memory = make();
  map_step(address, memory);
  fill<<<1, 32>>>(reinterpret_cast<int*>(address), 64, 1);
  EXPECT_EQ(unmap(address, step_), CUDA_SUCCESS);
  cudaDeviceSynchronize();
  EXPECT_EQ(taken(CUDASIM_UNORDERED_FREE) + taken(CUDASIM_USE_AFTER_FREE), 1u);
  cudasim_clear_error();
  EXPECT_EQ(release(memory), CUDA_SUCCESS);
  EXPECT_EQ(free_address(address, step_), CUDA_SUCCESS);
  cudasim_set_quiet(0);
}

TEST_F(VirtualMemory, AccessIsToldForEachDevice) {
  const CUdeviceptr address = reserve_steps(2);
  const CUmemGenericAllocationHandle memory = make();
  const CUmemLocation own{CU_MEM_LOCATION_TYPE_DEVICE, 0};
  unsigned long long flags = 99;
  EXPECT_EQ(get_access(&flags, &own, address), CUDA_ERROR_INVALID_VALUE) << "nothing is mapped";
  EXPECT_EQ(map(address, step_, 0, memory, 0), CUDA_SUCCESS);
  EXPECT_EQ(get_access(&flags, &own, address), CUDA_SUCCESS);
  EXPECT_EQ(flags, CU_MEM_ACCESS_FLAGS_PROT_NONE);
  const CUmemAccessDesc access{own, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  EXPECT_EQ(set_access(address, step_, &access, 1), CUDA_SUCCESS);
  EXPECT_EQ(get_access(&flags, &own, address + step_ - 1), CUDA_SUCCESS);
  EXPECT_EQ(flags, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  EXPECT_EQ(get_access(&flags, &own, address + step_), CUDA_ERROR_INVALID_VALUE);
  const CUmemLocation nowhere{CU_MEM_LOCATION_TYPE_DEVICE, 100};
  EXPECT_NE(get_access(&flags, &nowhere, address), CUDA_SUCCESS);
  EXPECT_EQ(get_access(nullptr, &own, address), CUDA_ERROR_INVALID_VALUE);
  int devices = 0;
  expect_success(cudaGetDeviceCount(&devices), "devices");
  if (devices > 1) {
    const CUmemLocation other{CU_MEM_LOCATION_TYPE_DEVICE, 1};
    EXPECT_EQ(get_access(&flags, &other, address), CUDA_SUCCESS);
    EXPECT_EQ(flags, CU_MEM_ACCESS_FLAGS_PROT_NONE);
    const CUmemAccessDesc both[2] = {access, {other, CU_MEM_ACCESS_FLAGS_PROT_READWRITE}};
    EXPECT_EQ(set_access(address, step_, both, 2), CUDA_SUCCESS);
    EXPECT_EQ(get_access(&flags, &other, address), CUDA_SUCCESS);
    EXPECT_EQ(flags, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  }
  EXPECT_EQ(unmap(address, step_), CUDA_SUCCESS);
  EXPECT_EQ(release(memory), CUDA_SUCCESS);
  EXPECT_EQ(free_address(address, 2 * step_), CUDA_SUCCESS);
  cudaGetLastError();
}

TEST_F(VirtualMemory, ARetainedHandleKeepsTheMemory) {
  const CUdeviceptr address = reserve_steps(1);
  const CUmemGenericAllocationHandle first = make();
  map_step(address, first);
  fill<<<1, 32>>>(reinterpret_cast<int*>(address), 32, 40);
  expect_synchronised();
  CUmemGenericAllocationHandle second = 0;
  EXPECT_EQ(retain(&second, reinterpret_cast<void*>(address + 64)), CUDA_SUCCESS);
  EXPECT_EQ(second, first) << "one memory has one handle, counted";
  EXPECT_EQ(release(first), CUDA_SUCCESS);
  EXPECT_EQ(unmap(address, step_), CUDA_SUCCESS);
  map_step(address, second);
  EXPECT_EQ(values_at(reinterpret_cast<int*>(address), 2)[1], 41);
  EXPECT_EQ(unmap(address, step_), CUDA_SUCCESS);
  EXPECT_EQ(release(second), CUDA_SUCCESS);
  EXPECT_EQ(map(address, step_, 0, second, 0), CUDA_ERROR_INVALID_VALUE) << "both are released";
  EXPECT_EQ(retain(&second, reinterpret_cast<void*>(address)), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(free_address(address, step_), CUDA_SUCCESS);
  cudaGetLastError();
}

TEST_F(VirtualMemory, AHandleTellsWhereItsMemoryIs) {
  int devices = 0;
  expect_success(cudaGetDeviceCount(&devices), "devices");
  for (int device = 0; device != devices; ++device) {
    wanted_.location.id = device;
    const CUmemGenericAllocationHandle memory = make();
    CUmemAllocationProp told{};
    EXPECT_EQ(properties(&told, memory), CUDA_SUCCESS);
    EXPECT_EQ(told.type, CU_MEM_ALLOCATION_TYPE_PINNED);
    EXPECT_EQ(told.location.type, CU_MEM_LOCATION_TYPE_DEVICE);
    EXPECT_EQ(told.location.id, device);
    EXPECT_EQ(release(memory), CUDA_SUCCESS);
    EXPECT_EQ(properties(&told, memory), CUDA_ERROR_INVALID_VALUE);
  }
  cudaGetLastError();
}

TEST_F(VirtualMemory, AnAddressHasARange) {
  void* plain = nullptr;
  expect_success(cudaMalloc(&plain, 1000), "cudaMalloc");
  const auto at = reinterpret_cast<CUdeviceptr>(plain);
  CUdeviceptr base = 0;
  std::size_t bytes = 0;
  EXPECT_EQ(address_range(&base, &bytes, at + 999), CUDA_SUCCESS);
  EXPECT_EQ(base, at);
  EXPECT_EQ(bytes, 1000U);
  EXPECT_EQ(address_range(&base, nullptr, at), CUDA_SUCCESS);
  EXPECT_EQ(address_range(nullptr, &bytes, at), CUDA_SUCCESS);
  expect_success(cudaFree(plain), "cudaFree");
  EXPECT_NE(address_range(&base, &bytes, at), CUDA_SUCCESS);
  EXPECT_NE(address_range(&base, &bytes, 16), CUDA_SUCCESS) << "nothing is there";
  cudaGetLastError();
}

}  // namespace
