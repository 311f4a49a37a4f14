// SPDX-License-Identifier: Apache-2.0
//
// driver: calls about device memory, plain and from a pool of the driver.
#include "driver.hpp"

namespace tidepool {
inline namespace v0 {
namespace cuda {

result<physical_memory> driver::memory() noexcept {
  if (is_lost()) {
    return lost();
  }
  const current_device here(ordinal_);
  const outside_captures relaxed;
  physical_memory now;
  if (const status why =
          answer(cudaMemGetInfo(&now.free_bytes, &now.total_bytes), "asking for free memory");
      !why.ok()) {
    return why;
  }
  return now;
}

result<void*> driver::allocate(std::size_t bytes) noexcept {
  if (is_lost()) {
    return lost();
  }
  const current_device here(ordinal_);
  const outside_captures relaxed;
  void* data = nullptr;
  if (const status why = answer(cudaMalloc(&data, bytes), "cudaMalloc"); !why.ok()) {
    return why;
  }
  return data;
}

status driver::release(void* data) noexcept {
  if (is_lost()) {
    return lost();
  }
  const current_device here(ordinal_);
  const outside_captures relaxed;
  return answer(cudaFree(data), "cudaFree");
}

// Its memory stays when it is freed, until `trim`.
result<cudaMemPool_t> driver::make_pool() noexcept {
  if (is_lost()) {
    return lost();
  }
  const outside_captures relaxed;
  cudaMemPoolProps wanted = {};
  wanted.allocType = cudaMemAllocationTypePinned;
  wanted.handleTypes = cudaMemHandleTypeNone;
  wanted.location.type = cudaMemLocationTypeDevice;
  wanted.location.id = ordinal_;
  cudaMemPool_t made = nullptr;
  if (const status why = answer(cudaMemPoolCreate(&made, &wanted), "making a memory pool");
      !why.ok()) {
    return why;
  }
  std::uint64_t threshold = UINT64_MAX;
  if (const status why =
          answer(cudaMemPoolSetAttribute(made, cudaMemPoolAttrReleaseThreshold, &threshold),
                 "setting a memory pool's threshold");
      !why.ok()) {
    static_cast<void>(destroy_pool(made));
    return why;
  }
  return made;
}

status driver::destroy_pool(cudaMemPool_t pool) noexcept {
  const outside_captures relaxed;
  return is_lost() ? lost() : answer(cudaMemPoolDestroy(pool), "destroying a memory pool");
}

result<void*> driver::allocate(cudaMemPool_t from, std::size_t bytes, cudaStream_t in) noexcept {
  if (is_lost()) {
    return lost();
  }
  const outside_captures relaxed;
  void* data = nullptr;
  if (const status why =
          answer(cudaMallocFromPoolAsync(&data, bytes, from, in), "cudaMallocFromPoolAsync");
      !why.ok()) {
    return why;
  }
  return data;
}

status driver::release(void* data, cudaStream_t in) noexcept {
  const outside_captures relaxed;
  return is_lost() ? lost() : answer(cudaFreeAsync(data, in), "cudaFreeAsync");
}

status driver::trim(cudaMemPool_t pool) noexcept {
  const outside_captures relaxed;
  return is_lost() ? lost() : answer(cudaMemPoolTrimTo(pool, 0), "trimming a memory pool");
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
