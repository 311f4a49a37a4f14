// SPDX-License-Identifier: Apache-2.0
//
// driver: calls about device memory, plain and from a pool of the driver; copies and fills.
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

// It holds for what the pool has and for what it gets. cudaDeviceEnablePeerAccess is no part of it:
// that says nothing of pools, and it would change the contexts of the application.
status driver::open_to(int peer, cudaMemPool_t pool) noexcept {
  cudaMemAccessDesc wanted = {};
  wanted.location.type = cudaMemLocationTypeDevice;
  wanted.location.id = peer;
  wanted.flags = cudaMemAccessFlagsProtReadWrite;
  return on_device("cudaMemPoolSetAccess, for a peer: backend_options::peers can name fewer",
                   [&] { return cudaMemPoolSetAccess(pool, &wanted, 1); });
}

// Asked without a current context, as an attribute is: it makes none.
result<bool> driver::can_be_reached_from(int other) noexcept {
  int can = 0;
  const status why =
      answer(cudaDeviceCanAccessPeer(&can, other, ordinal_), "cudaDeviceCanAccessPeer");
  return why.ok() ? result<bool>(can != 0) : why;
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

// The GPU whose memory it is; -1: of none, or of all.
result<int> driver::gpu_of(const void* data) noexcept {
  cudaPointerAttributes about = {};
  const status why = on_device("asking whose memory it is",
                               [&] { return cudaPointerGetAttributes(&about, data); });
  if (!why.ok()) {
    return why;
  }
  return about.type == cudaMemoryTypeDevice ? about.device : -1;
}

// cudaMemcpyAsync needs access to both sides where they are memory of pools or mapped. Who has that
// is not known here: the memory may be anybody's, and the stream one of either GPU. A copy that
// names both GPUs needs none. Where there is one GPU, nothing is asked.
status driver::copy(void* dst, const void* src, std::size_t bytes, cudaStream_t stream) noexcept {
  int to = -1;
  int from = -1;
  if (gpu_count_ > 1) {
    const result<int> asked_to = gpu_of(dst);
    const result<int> asked_from = gpu_of(src);
    if (!asked_to || !asked_from) {
      return asked_to ? asked_from.error() : asked_to.error();
    }
    to = *asked_to;
    from = *asked_from;
  }
  if (to >= 0 && from >= 0 && to != from) {
    return in_stream("a copy between two GPUs",
                     [=] { return cudaMemcpyPeerAsync(dst, to, src, from, bytes, stream); });
  }
  return in_stream("a copy",
                   [=] { return cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, stream); });
}

status driver::fill(void* dst, std::uint8_t value, std::size_t bytes,
                    cudaStream_t stream) noexcept {
  return in_stream("a fill", [=] { return cudaMemsetAsync(dst, value, bytes, stream); });
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
