// SPDX-License-Identifier: Apache-2.0
//
// The part of the driver API that programs reach through cudaGetDriverEntryPoint: virtual memory
// management. Physical memory is a memory file of its own that is mapped into the device's space.
#include "api/call.hpp"

#include <cuda.h>

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <iterator>

using namespace cudasim;

namespace {

constexpr std::uint64_t granularity = std::uint64_t{2} << 20;

struct physical_memory {
  int descriptor = -1;
  int device = 0;
  int mappings = 0;
  std::uint64_t bytes = 0;
  int handles = 1;
};
struct mapping {
  physical_memory* of;
  std::uint64_t bytes;
  std::shared_ptr<device_set> accessible_by;  // null: nobody was ever granted anything
};
// Guarded by the runtime's lock.
std::map<const physical_memory*, std::unique_ptr<physical_memory>> physicals;
std::map<std::uint64_t, std::uint64_t> reservations;
std::map<std::uint64_t, mapping> mappings;

// The driver's error numbers are the runtime's, for all that is used here.
template <class F>
CUresult driver_call(const char* name, F body) {
  return static_cast<CUresult>(call(name, [&](runtime& r) {
    require(!r.set.lacks("vmm"), cudaErrorNotSupported);
    return body(r);
  }));
}

physical_memory& physical_of(CUmemGenericAllocationHandle handle) {
  const auto found = physicals.find(reinterpret_cast<const physical_memory*>(handle));
  require(found != physicals.end() && found->second->handles != 0, cudaErrorInvalidValue);
  return *found->second;
}

void drop_if_unused(runtime& r, physical_memory& of) {
  if (of.handles == 0 && of.mappings == 0) {
    device_at(r, of.device).allocated -= of.bytes;
    close(of.descriptor);
    physicals.erase(&of);
  }
}

CUresult initialise(unsigned) {
  return CUDA_SUCCESS;
}

CUresult driver_version(int* version) {
  return static_cast<CUresult>(cudaDriverGetVersion(version));
}

CUresult get_device(CUdevice* out, int ordinal) {
  return static_cast<CUresult>(call("cuDeviceGet", [&](runtime& r) {
    static_cast<void>(device_at(r, ordinal));
    target(out) = ordinal;
  }));
}

CUresult device_attribute(int* out, CUdevice_attribute which, CUdevice ordinal) {
  const bool is_vmm = which == CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED;
  if (is_vmm) {
    return static_cast<CUresult>(call("cuDeviceGetAttribute", [&](runtime& r) {
      static_cast<void>(device_at(r, ordinal));
      target(out) = r.set.lacks("vmm") ? 0 : 1;
    }));
  }
  // The runtime's numbers for attributes are the driver's.
  return static_cast<CUresult>(
      cudaDeviceGetAttribute(out, static_cast<cudaDeviceAttr>(which), ordinal));
}

CUresult error_string(CUresult error, const char** out) {
  *out = cudaGetErrorString(static_cast<cudaError_t>(error));
  return CUDA_SUCCESS;
}
CUresult error_name(CUresult error, const char** out) {
  *out = cudaGetErrorName(static_cast<cudaError_t>(error));
  return CUDA_SUCCESS;
}

CUresult allocation_granularity(std::size_t* out, const CUmemAllocationProp*,
                                CUmemAllocationGranularity_flags) {
  return driver_call("cuMemGetAllocationGranularity", [&](runtime&) { target(out) = granularity; });
}

CUresult reserve_address(CUdeviceptr* out, std::size_t bytes, std::size_t alignment, CUdeviceptr,
                         unsigned long long) {
  return driver_call("cuMemAddressReserve", [&](runtime& r) {
    require(bytes != 0 && bytes % granularity == 0 && (alignment & (alignment - 1)) == 0,
            cudaErrorInvalidValue);
    const std::uint64_t address =
        r.device_space.take(bytes, std::max<std::uint64_t>(alignment, granularity));
    require(address != 0, cudaErrorMemoryAllocation);
    reservations[address] = bytes;
    target(out) = address;
  });
}

CUresult free_address(CUdeviceptr address, std::size_t bytes) {
  return driver_call("cuMemAddressFree", [&](runtime& r) {
    const auto found = reservations.find(address);
    require(found != reservations.end() && found->second == bytes, cudaErrorInvalidValue);
    const auto inside = mappings.lower_bound(address);
    require(inside == mappings.end() || inside->first >= address + bytes, cudaErrorInvalidValue);
    reservations.erase(found);
    r.device_space.give(address, bytes);
  });
}

CUresult create_memory(CUmemGenericAllocationHandle* out, std::size_t bytes,
                       const CUmemAllocationProp* wanted, unsigned long long) {
  return driver_call("cuMemCreate", [&](runtime& r) {
    const CUmemLocation& where = target(wanted).location;
    require(bytes != 0 && bytes % granularity == 0 && where.type == CU_MEM_LOCATION_TYPE_DEVICE,
            cudaErrorInvalidValue);
    device& on = device_at(r, where.id);
    require(bytes <= r.set.memory_bytes && r.reserved_on(where.id) <= r.set.memory_bytes - bytes,
            cudaErrorMemoryAllocation);
    auto made = std::make_unique<physical_memory>();
    made->device = where.id;
    made->bytes = bytes;
    made->descriptor = memfd_create("cudasim physical", MFD_CLOEXEC);
    require(made->descriptor >= 0 && ftruncate(made->descriptor, static_cast<off_t>(bytes)) == 0,
            cudaErrorMemoryAllocation);
    on.allocated += bytes;
    target(out) = reinterpret_cast<CUmemGenericAllocationHandle>(made.get());
    physicals.emplace(made.get(), std::move(made));
  });
}

CUresult release_memory(CUmemGenericAllocationHandle handle) {
  return driver_call("cuMemRelease", [&](runtime& r) {
    physical_memory& of = physical_of(handle);
    --of.handles;
    drop_if_unused(r, of);
  });
}

CUresult map_memory(CUdeviceptr address, std::size_t bytes, std::size_t offset,
                    CUmemGenericAllocationHandle handle, unsigned long long) {
  return driver_call("cuMemMap", [&](runtime& r) {
    physical_memory& of = physical_of(handle);
    auto reserved = reservations.upper_bound(address);
    require(reserved != reservations.begin() && address % granularity == 0 && bytes != 0 &&
                offset <= of.bytes && bytes <= of.bytes - offset,
            cudaErrorInvalidValue);
    --reserved;
    require(address + bytes <= reserved->first + reserved->second, cudaErrorInvalidValue);
    const auto next = mappings.lower_bound(address);
    const bool overlaps_next = next != mappings.end() && next->first < address + bytes;
    const bool overlaps_before = next != mappings.begin() &&
                                 std::prev(next)->first + std::prev(next)->second.bytes > address;
    require(!overlaps_next && !overlaps_before, cudaErrorInvalidValue);
    require(r.device_space.replace(address, bytes, of.descriptor, offset),
            cudaErrorMemoryAllocation);
    mappings[address] = {&of, bytes, nullptr};
    ++of.mappings;
  });
}

// What is accessible without a gap is one allocation, as an access may pass into the next mapping.
void open_mapping(runtime& r, std::uint64_t address, const mapping& what) {
  const int owner = what.of->device;
  const auto reserved = std::prev(reservations.upper_bound(address));
  const allocation_ptr before = address == reserved->first ? nullptr : r.memory.issued(address - 1);
  if (before != nullptr && before->device == owner) {
    before->size += what.bytes;
    before->granted[address] = what.accessible_by;
    r.races.forget(address, what.bytes);
    return;
  }
  allocation made;
  made.base = address;
  made.size = what.bytes;
  made.device = owner;
  made.delta = r.device_space.delta();
  made.allocated_by = "cuMemMap";
  made.granted[address] = what.accessible_by;
  r.memory.start(r.memory.issue(made), nullptr, false);
}

// Ends access to a range; what is accessible around it stays so, and remembers who used it.
void close_mappings(runtime& r, std::uint64_t low, std::uint64_t high) {
  const actor host{"cuMemUnmap", 0, -1, 0, r.host, 0, 0};
  const auto keep = [&](const allocation& of, std::uint64_t from, std::uint64_t to) {
    if (from < to) {
      allocation rest = of;
      rest.base = from;
      rest.size = to - from;
      r.memory.start(r.memory.issue(rest), nullptr, false);
    }
  };
  for (auto it = mappings.lower_bound(low); it != mappings.end() && it->first < high; ++it) {
    if (const allocation_ptr gone = r.memory.issued(it->first)) {
      r.memory.retract(gone);
      r.memory.finish(gone, &host, false);
      keep(*gone, gone->base, low);
      keep(*gone, high, gone->base + gone->size);
    }
  }
}

void check_access(runtime& r, const CUmemAccessDesc& wanted, int owner) {
  require(wanted.location.type == CU_MEM_LOCATION_TYPE_DEVICE &&
              (wanted.flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE ||
               wanted.flags == CU_MEM_ACCESS_FLAGS_PROT_NONE),
          cudaErrorInvalidValue);
  static_cast<void>(device_at(r, wanted.location.id));
  require(wanted.location.id == owner || !r.set.lacks("peers"), cudaErrorInvalidDevice);
}

// All or nothing. A device that is not named keeps what it had.
CUresult set_access(CUdeviceptr address, std::size_t bytes, const CUmemAccessDesc* wanted,
                    std::size_t count) {
  return driver_call("cuMemSetAccess", [&](runtime& r) {
    require(wanted != nullptr && count != 0, cudaErrorInvalidValue);
    const std::uint64_t end = address + bytes;
    std::uint64_t at = address;
    for (auto it = mappings.lower_bound(address); at < end; at += it->second.bytes, ++it) {
      require(it != mappings.end() && it->first == at && at + it->second.bytes <= end,
              cudaErrorInvalidValue);
      for (std::size_t i = 0; i != count; ++i) {
        check_access(r, wanted[i], it->second.of->device);
      }
    }
    for (auto it = mappings.lower_bound(address); it != mappings.end() && it->first < end; ++it) {
      mapping& of = it->second;
      if (of.accessible_by == nullptr) {
        of.accessible_by = std::make_shared<device_set>();
        open_mapping(r, it->first, of);
      }
      for (std::size_t i = 0; i != count; ++i) {
        of.accessible_by->erase(wanted[i].location.id);
        if (wanted[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
          of.accessible_by->insert(wanted[i].location.id);
        }
      }
    }
  });
}

// Does not wait for the device: uses that the host has not seen complete are reported.
CUresult unmap_memory(CUdeviceptr address, std::size_t bytes) {
  return driver_call("cuMemUnmap", [&](runtime& r) {
    const std::uint64_t end = address + bytes;
    for (std::uint64_t at = address; at < end;) {
      const auto found = mappings.find(at);
      require(found != mappings.end() && at + found->second.bytes <= end, cudaErrorInvalidValue);
      at += found->second.bytes;
    }
    close_mappings(r, address, end);
    while (address < end) {
      const auto found = mappings.find(address);
      physical_memory& of = *found->second.of;
      const std::uint64_t size = found->second.bytes;
      r.device_space.restore(address, size);
      mappings.erase(found);
      --of.mappings;
      drop_if_unused(r, of);
      address += size;
    }
  });
}

// The mapping that holds the address.
const mapping& mapping_of(CUdeviceptr address) {
  const auto next = mappings.upper_bound(address);
  require(next != mappings.begin(), cudaErrorInvalidValue);
  const auto& [begin, found] = *std::prev(next);
  require(address - begin < found.bytes, cudaErrorInvalidValue);
  return found;
}

CUresult get_access(unsigned long long* flags, const CUmemLocation* where, CUdeviceptr address) {
  return driver_call("cuMemGetAccess", [&](runtime& r) {
    const mapping& of = mapping_of(address);
    require(target(where).type == CU_MEM_LOCATION_TYPE_DEVICE, cudaErrorInvalidValue);
    static_cast<void>(device_at(r, where->id));
    const bool has = of.accessible_by != nullptr && of.accessible_by->count(where->id) != 0;
    target(flags) = has ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE;
  });
}

// One more handle of the memory behind an address, to be released like the first.
CUresult retain_handle(CUmemGenericAllocationHandle* out, void* address) {
  return driver_call("cuMemRetainAllocationHandle", [&](runtime&) {
    physical_memory& of = *mapping_of(reinterpret_cast<CUdeviceptr>(address)).of;
    ++of.handles;
    target(out) = reinterpret_cast<CUmemGenericAllocationHandle>(&of);
  });
}

CUresult properties_of(CUmemAllocationProp* out, CUmemGenericAllocationHandle handle) {
  return driver_call("cuMemGetAllocationPropertiesFromHandle", [&](runtime&) {
    target(out) = {};
    out->type = CU_MEM_ALLOCATION_TYPE_PINNED;
    out->location = {CU_MEM_LOCATION_TYPE_DEVICE, physical_of(handle).device};
  });
}

CUresult address_range(CUdeviceptr* base, std::size_t* bytes, CUdeviceptr address) {
  return driver_call("cuMemGetAddressRange", [&](runtime& r) {
    const allocation_ptr found = r.memory.issued(address);
    require(found != nullptr, cudaErrorInvalidValue);
    if (base != nullptr) {
      *base = found->base;
    }
    if (bytes != nullptr) {
      *bytes = found->size;
    }
  });
}

struct entry {
  const char* name;
  void* function;
};
template <class F>
void* address_of(F* function) {
  return reinterpret_cast<void*>(function);
}
const std::array<entry, 18> entries{{
    {"cuInit", address_of(initialise)},
    {"cuDriverGetVersion", address_of(driver_version)},
    {"cuDeviceGet", address_of(get_device)},
    {"cuDeviceGetAttribute", address_of(device_attribute)},
    {"cuGetErrorString", address_of(error_string)},
    {"cuGetErrorName", address_of(error_name)},
    {"cuMemGetAllocationGranularity", address_of(allocation_granularity)},
    {"cuMemAddressReserve", address_of(reserve_address)},
    {"cuMemAddressFree", address_of(free_address)},
    {"cuMemCreate", address_of(create_memory)},
    {"cuMemRelease", address_of(release_memory)},
    {"cuMemMap", address_of(map_memory)},
    {"cuMemSetAccess", address_of(set_access)},
    {"cuMemUnmap", address_of(unmap_memory)},
    {"cuMemGetAccess", address_of(get_access)},
    {"cuMemRetainAllocationHandle", address_of(retain_handle)},
    {"cuMemGetAllocationPropertiesFromHandle", address_of(properties_of)},
    {"cuMemGetAddressRange", address_of(address_range)},
}};

constexpr int first_version = 10020;  // that has virtual memory management

cudaError_t find_entry(const char* name, const char* wanted, void** out, int version,
                       cudaDriverEntryPointQueryResult* result) {
  return call(name, [&](runtime& r) {
    target(out) = nullptr;
    const bool fits = version >= first_version && version <= r.set.driver_version;
    for (const entry& known : entries) {
      if (fits && std::strcmp(known.name, &target(wanted)) == 0) {
        *out = known.function;
      }
    }
    if (fits && *out == nullptr) {
      *out = context_entry(wanted);
    }
    if (result != nullptr) {
      *result = *out != nullptr ? cudaDriverEntryPointSuccess
                : fits          ? cudaDriverEntryPointSymbolNotFound
                                : cudaDriverEntryPointVersionNotSufficent;
    }
    return *out != nullptr || result != nullptr ? cudaSuccess : cudaErrorSymbolNotFound;
  });
}

}  // namespace

extern "C" {

cudaError_t cudaGetDriverEntryPointByVersion(const char* wanted, void** out, unsigned version,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  return find_entry(__func__, wanted, out, static_cast<int>(version), result);
}

cudaError_t cudaGetDriverEntryPoint(const char* wanted, void** out, unsigned long long,
                                    cudaDriverEntryPointQueryResult* result) {
  return find_entry(__func__, wanted, out, cudasim_runtime_version, result);
}

}  // extern "C"
