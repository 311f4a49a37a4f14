// SPDX-License-Identifier: Apache-2.0
//
// driver: calls about memory of the host.
#include "driver/host.hpp"

#include <array>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

/// A place of managed memory.
struct place {
  enum class type : std::uint8_t { none, host, node, gpu };
  type kind = type::none;
  int number = 0;
};

place place_of(device where) noexcept {
  if (where.kind() == device_kind::cuda) {
    return {place::type::gpu, where.ordinal()};
  }
  if (where.kind() != device_kind::cpu) {
    return {};
  }
  return where.node() == device::any_node ? place{place::type::host, 0}
                                          : place{place::type::node, where.node()};
}

cudaMemoryAdvise advice_of(const advice_request& request) noexcept {
  switch (request.what) {
  case memory_advice::read_mostly:
    return request.take_back ? cudaMemAdviseUnsetReadMostly : cudaMemAdviseSetReadMostly;
  case memory_advice::preferred_location:
    return request.take_back ? cudaMemAdviseUnsetPreferredLocation
                             : cudaMemAdviseSetPreferredLocation;
  case memory_advice::accessed_by:
    return request.take_back ? cudaMemAdviseUnsetAccessedBy : cudaMemAdviseSetAccessedBy;
  }
  return cudaMemoryAdvise{};
}

// CUDA 13 has locations where CUDA 12 had numbers of devices, and of nodes only "the host".
#if CUDART_VERSION >= 13000
constexpr bool knows_nodes = true;
cudaMemLocation location_of(const place& target) noexcept {
  switch (target.kind) {
  case place::type::gpu:
    return {cudaMemLocationTypeDevice, target.number};
  case place::type::node:
    return {cudaMemLocationTypeHostNuma, target.number};
  default:
    return {cudaMemLocationTypeHost, 0};
  }
}
cudaError_t call_prefetch(std::span<const std::byte> range, const place& target,
                          cudaStream_t stream) noexcept {
  return cudaMemPrefetchAsync(range.data(), range.size(), location_of(target), 0, stream);
}
cudaError_t call_advise(std::span<const std::byte> range, cudaMemoryAdvise what,
                        const place& target) noexcept {
  return cudaMemAdvise(range.data(), range.size(), what, location_of(target));
}
#else
constexpr bool knows_nodes = false;
int number_of(const place& target) noexcept {
  return target.kind == place::type::gpu ? target.number : cudaCpuDeviceId;
}
cudaError_t call_prefetch(std::span<const std::byte> range, const place& target,
                          cudaStream_t stream) noexcept {
  return cudaMemPrefetchAsync(range.data(), range.size(), number_of(target), stream);
}
cudaError_t call_advise(std::span<const std::byte> range, cudaMemoryAdvise what,
                        const place& target) noexcept {
  return cudaMemAdvise(range.data(), range.size(), what, number_of(target));
}
#endif

// Why the driver cannot be told of this place; ok: it can.
status check_place(const place& target, device where) noexcept {
  if (target.kind == place::type::none) {
    return {.code = errc::invalid_argument,
            .where = where,
            .text = "managed memory is on the host or on a GPU"};
  }
  if (target.kind == place::type::node && !knows_nodes) {
    return {.code = errc::unsupported,
            .where = where,
            .text = "builds for CUDA 12 tell the driver of no NUMA node: name device::cpu(), or "
                    "build for CUDA 13"};
  }
  return {};
}

}  // namespace

status register_host(driver& gpu, std::span<const std::byte> memory, host_access access) noexcept {
  const unsigned flags = cudaHostRegisterPortable | cudaHostRegisterMapped |
                         (access == host_access::read_only ? cudaHostRegisterReadOnly : 0U);
  void* const data = const_cast<std::byte*>(memory.data());
  status why = gpu.on_device("cudaHostRegister",
                             [&] { return cudaHostRegister(data, memory.size(), flags); });
  why.requested = memory.size();
  return why;
}

status unregister_host(driver& gpu, const void* data) noexcept {
  return gpu.on_device("cudaHostUnregister",
                       [&] { return cudaHostUnregister(const_cast<void*>(data)); });
}

result<void*> device_address(driver& gpu, const void* data) noexcept {
  void* found = nullptr;
  const status why = gpu.on_device("cudaHostGetDevicePointer", [&] {
    return cudaHostGetDevicePointer(&found, const_cast<void*>(data), 0);
  });
  return why.ok() ? result<void*>(found) : why;
}

result<void*> allocate_host(driver& gpu, std::size_t bytes) noexcept {
  void* data = nullptr;
  const status why = gpu.on_device("cudaHostAlloc", [&] {
    return cudaHostAlloc(&data, bytes, cudaHostAllocPortable | cudaHostAllocMapped);
  });
  return why.ok() ? result<void*>(data) : why;
}

status free_host(driver& gpu, void* data) noexcept {
  return gpu.on_device("cudaFreeHost", [&] { return cudaFreeHost(data); });
}

result<void*> allocate_managed(driver& gpu, std::size_t bytes) noexcept {
  void* data = nullptr;
  const status why = gpu.on_device(
      "cudaMallocManaged", [&] { return cudaMallocManaged(&data, bytes, cudaMemAttachGlobal); });
  return why.ok() ? result<void*>(data) : why;
}

status prefetch_managed(driver& gpu, std::span<const std::byte> range, device target,
                        cudaStream_t stream) noexcept {
  const place destination = place_of(target);
  if (const status why = check_place(destination, target); !why.ok()) {
    return why;
  }
  return gpu.in_stream("cudaMemPrefetchAsync",
                       [&] { return call_prefetch(range, destination, stream); });
}

status advise_managed(driver& gpu, std::span<const std::byte> range,
                      const advice_request& request) noexcept {
  const place concerned = place_of(request.of);
  if (const status why = check_place(concerned, request.of); !why.ok()) {
    return why;
  }
  return gpu.on_device("cudaMemAdvise",
                       [&] { return call_advise(range, advice_of(request), concerned); });
}

int host_node(driver& gpu, const host_system& system) noexcept {
#if CUDART_VERSION >= 12020
  int node = host_system::no_node;
  if (gpu.answer(cudaDeviceGetAttribute(&node, cudaDevAttrHostNumaId, gpu.ordinal()),
                 "the host's node")
          .ok() &&
      node >= 0 && system.has_node(node)) {
    return node;
  }
#endif
  std::array<char, 32> bus_id{};
  const status why = gpu.answer(
      cudaDeviceGetPCIBusId(bus_id.data(), static_cast<int>(bus_id.size()), gpu.ordinal()),
      "the GPU's place on the bus");
  const int found = why.ok() ? system.node_of_pci(bus_id.data()) : host_system::no_node;
  return found >= 0 && system.has_node(found) ? found : host_system::no_node;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
