// SPDX-License-Identifier: Apache-2.0
//
// driver: calls about device memory, plain and from a pool of the driver.
#include "driver/driver.hpp"

namespace tidepool {
inline namespace v0 {
namespace cuda {

result<physical_memory> driver::memory() noexcept {
  physical_memory now;
  const status why = on_device("asking for free memory",
                               [&] { return cudaMemGetInfo(&now.free_bytes, &now.total_bytes); });
  return why.ok() ? result<physical_memory>(now) : why;
}

result<void*> driver::allocate(std::size_t bytes) noexcept {
  void* data = nullptr;
  const status why = on_device("cudaMalloc", [&] { return cudaMalloc(&data, bytes); });
  return why.ok() ? result<void*>(data) : why;
}

status driver::release(void* data) noexcept {
  return on_device("cudaFree", [=] { return cudaFree(data); });
}

// The pool keeps what is freed until `trim`.
result<cudaMemPool_t> driver::make_pool() noexcept {
  cudaMemPoolProps wanted = {};
  wanted.allocType = cudaMemAllocationTypePinned;
  wanted.handleTypes = cudaMemHandleTypeNone;
  wanted.location.type = cudaMemLocationTypeDevice;
  wanted.location.id = ordinal_;
  cudaMemPool_t made = nullptr;
  status why = on_device("making a memory pool", [&] { return cudaMemPoolCreate(&made, &wanted); });
  if (!why.ok()) {
    return why;
  }
  std::uint64_t threshold = UINT64_MAX;
  why = on_device("setting a memory pool's threshold", [&] {
    return cudaMemPoolSetAttribute(made, cudaMemPoolAttrReleaseThreshold, &threshold);
  });
  if (!why.ok()) {
    static_cast<void>(destroy_pool(made));
    return why;
  }
  return made;
}

status driver::destroy_pool(cudaMemPool_t pool) noexcept {
  return on_device("destroying a memory pool", [=] { return cudaMemPoolDestroy(pool); });
}

result<void*> driver::allocate(cudaMemPool_t pool, std::size_t bytes,
                               cudaStream_t stream) noexcept {
  void* data = nullptr;
  const status why = on_device("cudaMallocFromPoolAsync",
                               [&] { return cudaMallocFromPoolAsync(&data, bytes, pool, stream); });
  return why.ok() ? result<void*>(data) : why;
}

status driver::release(void* data, cudaStream_t stream) noexcept {
  return on_device("cudaFreeAsync", [=] { return cudaFreeAsync(data, stream); });
}

status driver::trim(cudaMemPool_t pool) noexcept {
  return on_device("trimming a memory pool", [=] { return cudaMemPoolTrimTo(pool, 0); });
}

result<std::size_t> driver::reserved_by(cudaMemPool_t pool) noexcept {
  std::uint64_t bytes = 0;
  const status why = on_device("asking a memory pool", [&] {
    return cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &bytes);
  });
  return why.ok() ? result<std::size_t>(bytes) : why;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
