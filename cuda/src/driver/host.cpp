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
  enum class kind : std::uint8_t { none, host, node, gpu };
  kind is = kind::none;
  int number = 0;
};

place place_of(device where) noexcept {
  if (where.kind() == device_kind::cuda) {
    return {place::kind::gpu, where.ordinal()};
  }
  if (where.kind() != device_kind::cpu) {
    return {};
  }
  return where.node() == device::any_node ? place{place::kind::host, 0}
                                          : place{place::kind::node, where.node()};
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
cudaMemLocation location_of(const place& of) noexcept {
  switch (of.is) {
  case place::kind::gpu:
    return {cudaMemLocationTypeDevice, of.number};
  case place::kind::node:
    return {cudaMemLocationTypeHostNuma, of.number};
  default:
    return {cudaMemLocationTypeHost, 0};
  }
}
cudaError_t call_prefetch(std::span<const std::byte> range, const place& to,
                          cudaStream_t in) noexcept {
  return cudaMemPrefetchAsync(range.data(), range.size(), location_of(to), 0, in);
}
cudaError_t call_advise(std::span<const std::byte> range, cudaMemoryAdvise what,
                        const place& of) noexcept {
  return cudaMemAdvise(range.data(), range.size(), what, location_of(of));
}
#else
int number_of(const place& of) noexcept {
  return of.is == place::kind::gpu ? of.number : cudaCpuDeviceId;
}
cudaError_t call_prefetch(std::span<const std::byte> range, const place& to,
                          cudaStream_t in) noexcept {
  return cudaMemPrefetchAsync(range.data(), range.size(), number_of(to), in);
}
cudaError_t call_advise(std::span<const std::byte> range, cudaMemoryAdvise what,
                        const place& of) noexcept {
  return cudaMemAdvise(range.data(), range.size(), what, number_of(of));
}
#endif

status no_such_place(device where) noexcept {
  return {.code = errc::invalid_argument,
          .where = where,
          .text = "managed memory is on the host or on a GPU"};
}

}  // namespace

status register_host(driver& of, std::span<const std::byte> memory, host_access access) noexcept {
  const unsigned flags = cudaHostRegisterPortable | cudaHostRegisterMapped |
                         (access == host_access::read_only ? cudaHostRegisterReadOnly : 0U);
  void* const data = const_cast<std::byte*>(memory.data());
  status why = of.on_device("cudaHostRegister",
                            [&] { return cudaHostRegister(data, memory.size(), flags); });
  why.requested = memory.size();
  return why;
}

status unregister_host(driver& of, const void* data) noexcept {
  return of.on_device("cudaHostUnregister",
                      [&] { return cudaHostUnregister(const_cast<void*>(data)); });
}

result<void*> device_address(driver& of, const void* data) noexcept {
  void* found = nullptr;
  const status why = of.on_device("cudaHostGetDevicePointer", [&] {
    return cudaHostGetDevicePointer(&found, const_cast<void*>(data), 0);
  });
  return why.ok() ? result<void*>(found) : why;
}

result<void*> allocate_host(driver& of, std::size_t bytes) noexcept {
  void* data = nullptr;
  const status why = of.on_device("cudaHostAlloc", [&] {
    return cudaHostAlloc(&data, bytes, cudaHostAllocPortable | cudaHostAllocMapped);
  });
  return why.ok() ? result<void*>(data) : why;
}

status free_host(driver& of, void* data) noexcept {
  return of.on_device("cudaFreeHost", [&] { return cudaFreeHost(data); });
}

result<void*> allocate_managed(driver& of, std::size_t bytes) noexcept {
  void* data = nullptr;
  const status why = of.on_device(
      "cudaMallocManaged", [&] { return cudaMallocManaged(&data, bytes, cudaMemAttachGlobal); });
  return why.ok() ? result<void*>(data) : why;
}

status prefetch_managed(driver& of, std::span<const std::byte> range, device to,
                        cudaStream_t in) noexcept {
  const place target = place_of(to);
  if (target.is == place::kind::none) {
    return no_such_place(to);
  }
  return of.in_stream(in, "cudaMemPrefetchAsync", [&] { return call_prefetch(range, target, in); });
}

status advise_managed(driver& of, std::span<const std::byte> range,
                      const advice_request& request) noexcept {
  const place concerned = place_of(request.of);
  if (concerned.is == place::kind::none) {
    return no_such_place(request.of);
  }
  return of.anywhere("cudaMemAdvise",
                     [&] { return call_advise(range, advice_of(request), concerned); });
}

int host_node(driver& of, const host_system& system) noexcept {
#if CUDART_VERSION >= 12020
  int node = host_system::no_node;
  if (of.answer(cudaDeviceGetAttribute(&node, cudaDevAttrHostNumaId, of.ordinal()),
                "the host's node")
          .ok() &&
      node >= 0 && system.has_node(node)) {
    return node;
  }
#endif
  std::array<char, 32> bus_id{};
  const status why =
      of.answer(cudaDeviceGetPCIBusId(bus_id.data(), static_cast<int>(bus_id.size()), of.ordinal()),
                "the GPU's place on the bus");
  const int found = why.ok() ? system.node_of_pci(bus_id.data()) : host_system::no_node;
  return found >= 0 && system.has_node(found) ? found : host_system::no_node;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
