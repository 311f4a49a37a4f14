// SPDX-License-Identifier: Apache-2.0
//
// Entry points of virtual_memory, and the calls.
#include "driver/virtual.hpp"

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

/// Looks functions of the driver up, and keeps the latest refusal.
class entry_points {
 public:
  explicit entry_points(driver& gpu) noexcept : gpu_(gpu) {}

  /// Null where the driver has no such function.
  template <class F>
  [[nodiscard]] F look_up(const char* name) noexcept {
    const entry_point found = find_entry_point(name);
    const status why = gpu_.answer(found.error, name);
    if (!why.ok()) {
      refusal_ = why;
      return nullptr;
    }
    return reinterpret_cast<F>(found.function);
  }
  /// ok(): all were found.
  [[nodiscard]] const status& refusal() const noexcept { return refusal_; }

 private:
  driver& gpu_;
  status refusal_;
};

}  // namespace

// The driver's numbers of errors are the runtime's.
template <class F>
status virtual_memory::call(const char* text, F&& function) noexcept {
  return driver_->on_device(text, [&] { return static_cast<cudaError_t>(function()); });
}

result<virtual_memory> virtual_memory::open(driver& gpu) noexcept {
  virtual_memory made(gpu);
  const auto unsupported = [&](status why) noexcept {
    if (why.code != errc::device_lost) {
      why.code = errc::unsupported;
      why.where =
          device::cuda(static_cast<std::uint16_t>(gpu.ordinal())).with(memory_kind::growable);
      why.text = "this GPU or its driver cannot map memory to addresses";
    }
    return why;
  };
  entry_points points(gpu);
  const auto get_device = points.look_up<decltype(&cuDeviceGet)>("cuDeviceGet");
  const auto get_attribute =
      points.look_up<decltype(&cuDeviceGetAttribute)>("cuDeviceGetAttribute");
  const auto get_granularity =
      points.look_up<decltype(&cuMemGetAllocationGranularity)>("cuMemGetAllocationGranularity");
  made.reserve_ = points.look_up<decltype(reserve_)>("cuMemAddressReserve");
  made.free_ = points.look_up<decltype(free_)>("cuMemAddressFree");
  made.create_ = points.look_up<decltype(create_)>("cuMemCreate");
  made.release_ = points.look_up<decltype(release_)>("cuMemRelease");
  made.map_ = points.look_up<decltype(map_)>("cuMemMap");
  made.set_access_ = points.look_up<decltype(set_access_)>("cuMemSetAccess");
  made.unmap_ = points.look_up<decltype(unmap_)>("cuMemUnmap");
  if (!points.refusal().ok()) {
    return unsupported(points.refusal());
  }
  CUdevice device_number = 0;
  int supported = 0;
  status why = made.call("cuDeviceGet", [&] { return get_device(&device_number, gpu.ordinal()); });
  if (why.ok()) {
    why = made.call("cuDeviceGetAttribute", [&] {
      return get_attribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
                           device_number);
    });
  }
  if (!why.ok() || supported == 0) {
    return unsupported(why);
  }
  made.kind_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  made.kind_.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  made.kind_.location.id = device_number;
  made.add_access(device_number);
  for (const int peer : gpu.peers().ordinals()) {
    CUdevice peer_number = 0;
    why = made.call("cuDeviceGet", [&] { return get_device(&peer_number, peer); });
    if (!why.ok()) {
      return why;
    }
    made.add_access(peer_number);
  }
  why = made.call("cuMemGetAllocationGranularity", [&] {
    return get_granularity(&made.granularity_, &made.kind_, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
  });
  if (!why.ok()) {
    return unsupported(why);
  }
  return made;
}

// Pre: no more than the GPU and its peers.
void virtual_memory::add_access(CUdevice number) noexcept {
  CUmemAccessDesc& added = access_[access_count_++];
  added.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  added.location.id = number;
  added.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
}

result<CUdeviceptr> virtual_memory::reserve(std::size_t bytes) noexcept {
  CUdeviceptr at = 0;
  const status why =
      call("cuMemAddressReserve", [&] { return reserve_(&at, bytes, granularity_, 0, 0); });
  if (!why.ok()) {
    return why;
  }
  return at;
}

status virtual_memory::free(CUdeviceptr at, std::size_t bytes) noexcept {
  return call("cuMemAddressFree", [&] { return free_(at, bytes); });
}

result<CUmemGenericAllocationHandle> virtual_memory::create(std::size_t bytes) noexcept {
  CUmemGenericAllocationHandle memory = 0;
  const status why = call("cuMemCreate", [&] { return create_(&memory, bytes, &kind_, 0); });
  if (!why.ok()) {
    return why;
  }
  return memory;
}

status virtual_memory::release(CUmemGenericAllocationHandle memory) noexcept {
  return call("cuMemRelease", [&] { return release_(memory); });
}

status virtual_memory::map(CUdeviceptr at, std::size_t bytes,
                           CUmemGenericAllocationHandle memory) noexcept {
  return call("cuMemMap", [&] { return map_(at, bytes, 0, memory, 0); });
}

status virtual_memory::allow_access(CUdeviceptr at, std::size_t bytes) noexcept {
  const char* const text =
      access_count_ == 1
          ? "cuMemSetAccess"
          : "cuMemSetAccess, for this GPU and its peers: backend_options::peers can name fewer";
  return call(text, [&] { return set_access_(at, bytes, access_.data(), access_count_); });
}

status virtual_memory::unmap(CUdeviceptr at, std::size_t bytes) noexcept {
  return call("cuMemUnmap", [&] { return unmap_(at, bytes); });
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
