// SPDX-License-Identifier: Apache-2.0
//
// Memory that is not stream-ordered: device, pinned, registered and managed; attributes of
// pointers. cudaFree waits for the device, as the real one does.
#include "api/call.hpp"

#include <cstdio>
#include <fstream>
#include <string>

using namespace cudasim;

namespace {

constexpr std::size_t pitch_alignment = 512;

void allocate_device(runtime& r, void** out, std::size_t bytes) {
  target(out) = nullptr;
  r.require_safe_in_capture();
  if (bytes == 0) {
    return;
  }
  const std::uint64_t address = r.take_device(current_device, bytes);
  require(address != 0, cudaErrorMemoryAllocation);
  r.add_allocation(address, bytes, memory_kind::device, current_device)->allocated_by =
      "cudaMalloc";
  *out = reinterpret_cast<void*>(address);
}

void allocate_host(runtime& r, void** out, std::size_t bytes, memory_kind kind, unsigned flags) {
  target(out) = nullptr;
  r.require_safe_in_capture();
  if (bytes == 0) {
    return;
  }
  require(bytes < r.host_space.size(), cudaErrorMemoryAllocation);
  const std::uint64_t address = r.host_space.take(align_up(bytes, host_page), host_page);
  require(address != 0, cudaErrorMemoryAllocation);
  r.add_allocation(address, bytes, kind, current_device)->flags = flags;
  *out = reinterpret_cast<void*>(address);
}

// True if all pages of the range are there, and writable if they have to be.
bool is_mapped(std::uint64_t low, std::uint64_t bytes, bool writable) {
  std::ifstream maps("/proc/self/maps");
  const std::uint64_t end = low + bytes;
  for (std::string line; low < end && std::getline(maps, line);) {
    unsigned long long first = 0;
    unsigned long long last = 0;
    char rights[5] = "";
    if (std::sscanf(line.c_str(), "%llx-%llx %4s", &first, &last, rights) != 3 || last <= low) {
      continue;
    }
    if (first > low || rights[0] != 'r' || (writable && rights[1] != 'w')) {
      return false;
    }
    low = last;
  }
  return low >= end;
}

void check_registration(runtime& r, const void* address, std::size_t bytes, unsigned flags) {
  constexpr unsigned known = cudaHostRegisterPortable | cudaHostRegisterMapped |
                             cudaHostRegisterIoMemory | cudaHostRegisterReadOnly;
  const auto at = reinterpret_cast<std::uint64_t>(address);
  require(address != nullptr && bytes != 0 && at + bytes > at && (flags & ~known) == 0,
          cudaErrorInvalidValue);
  r.require_safe_in_capture();
  require((flags & cudaHostRegisterIoMemory) == 0, cudaErrorNotSupported);
  const bool is_read_only = (flags & cudaHostRegisterReadOnly) != 0;
  require(!is_read_only || !r.set.lacks("readonly"), cudaErrorNotSupported);
  const auto& all = r.memory.all_issued();
  const auto next = all.lower_bound(at);
  const bool overlaps =
      r.memory.issued(address) != nullptr || (next != all.end() && next->first < at + bytes);
  require(!overlaps, cudaErrorHostMemoryAlreadyRegistered);
  require(is_mapped(at, bytes, !is_read_only), cudaErrorInvalidValue);
}

// The allocation that begins at the address; a free of what was freed is reported.
allocation_ptr allocation_at(runtime& r, void* address) {
  const allocation_ptr found = r.memory.issued(address);
  const auto at = reinterpret_cast<std::uint64_t>(address);
  if (found == nullptr) {
    if (const allocation_ptr before = r.memory.freed(at)) {
      r.findings.add(finding::use_after_free, std::string(r.call_name) + " of what is free: " +
                                                  before->describe() + before->history());
    }
    refuse(cudaErrorInvalidValue);
  }
  require(found->base == at && !found->is_program, cudaErrorInvalidValue);
  return found;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** out, std::size_t bytes) {
  return call(__func__, [&](runtime& r) { allocate_device(r, out, bytes); });
}

cudaError_t cudaMallocPitch(void** out, std::size_t* pitch, std::size_t width, std::size_t height) {
  return call(__func__, [&](runtime& r) {
    target(pitch) = align_up(width, pitch_alignment);
    allocate_device(r, out, *pitch * height);
  });
}

cudaError_t cudaMalloc3D(cudaPitchedPtr* out, cudaExtent shape) {
  return call(__func__, [&](runtime& r) {
    cudaPitchedPtr& made = target(out);
    made.pitch = align_up(shape.width, pitch_alignment);
    made.xsize = shape.width;
    made.ysize = shape.height;
    allocate_device(r, &made.ptr, made.pitch * shape.height * shape.depth);
  });
}

cudaError_t cudaFree(void* address) {
  return call(__func__, [&](runtime& r) {
    if (address == nullptr) {
      return;
    }
    r.require_safe_in_capture();
    const allocation_ptr gone = allocation_at(r, address);
    const bool is_managed = gone->kind == memory_kind::managed;
    require(gone->imported == nullptr || gone->pool != nullptr, cudaErrorInvalidValue);
    require(is_managed || gone->kind == memory_kind::device || gone->pool != nullptr,
            cudaErrorInvalidValue);
    if (is_managed) {
      r.synchronize_all();
    } else {
      r.synchronize_device(gone->device);
    }
    if (gone->pool != nullptr || gone->allocated_by != "cudaMalloc") {
      if (gone->kind == memory_kind::managed && gone->pool == nullptr) {
        r.drop_allocation(gone);
        return;
      }
      r.free_in(*device_at(r, gone->device).legacy, address);
      r.synchronize_device(gone->device);
      return;
    }
    r.drop_allocation(gone);
  });
}

cudaError_t cudaMallocHost(void** out, std::size_t bytes) {
  return call(__func__, [&](runtime& r) {
    allocate_host(r, out, bytes, memory_kind::pinned, cudaHostAllocDefault);
  });
}

cudaError_t cudaHostAlloc(void** out, std::size_t bytes, unsigned flags) {
  return call(__func__, [&](runtime& r) {
    constexpr unsigned known =
        cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
    require((flags & ~known) == 0, cudaErrorInvalidValue);
    allocate_host(r, out, bytes, memory_kind::pinned, flags);
  });
}

cudaError_t cudaMallocManaged(void** out, std::size_t bytes, unsigned flags) {
  return call(__func__, [&](runtime& r) {
    require(!r.set.lacks("managed"), cudaErrorNotSupported);
    require(flags == cudaMemAttachGlobal || flags == cudaMemAttachHost, cudaErrorInvalidValue);
    require(bytes != 0, cudaErrorInvalidValue);
    allocate_host(r, out, bytes, memory_kind::managed, flags);
  });
}

cudaError_t cudaFreeHost(void* address) {
  return call(__func__, [&](runtime& r) {
    if (address == nullptr) {
      return;
    }
    r.require_safe_in_capture();
    const allocation_ptr gone = allocation_at(r, address);
    require(gone->kind == memory_kind::pinned && gone->pool == nullptr, cudaErrorInvalidValue);
    r.synchronize_all();
    r.drop_allocation(gone);
  });
}

cudaError_t cudaHostRegister(void* address, std::size_t bytes, unsigned flags) {
  return call(__func__, [&](runtime& r) {
    check_registration(r, address, bytes, flags);
    const auto at = reinterpret_cast<std::uint64_t>(address);
    if (r.set.races) {
      r.races.watch({at, bytes, 0}, true);
    }
    const bool is_read_only = (flags & cudaHostRegisterReadOnly) != 0;
    if (!is_read_only) {  // opening pages again makes them writable
      r.pages.add(at, bytes, true);
    }
    const allocation_ptr made =
        r.add_allocation(at, bytes, memory_kind::registered, current_device);
    made->flags = flags;
    made->read_only = is_read_only;
  });
}

cudaError_t cudaHostUnregister(void* address) {
  return call(__func__, [&](runtime& r) {
    r.require_safe_in_capture();
    const allocation_ptr gone = r.memory.issued(address);
    require(gone != nullptr && gone->kind == memory_kind::registered &&
                gone->base == reinterpret_cast<std::uint64_t>(address),
            cudaErrorHostMemoryNotRegistered);
    r.synchronize_all();
    r.drop_allocation(gone);
    r.pages.remove(gone->base);
    r.races.unwatch(gone->base);
  });
}

cudaError_t cudaHostGetDevicePointer(void** out, void* address, unsigned flags) {
  return call(__func__, [&](runtime& r) {
    const allocation_ptr found = r.memory.issued(address);
    require(found != nullptr && found->kind != memory_kind::device && flags == 0,
            cudaErrorInvalidValue);
    target(out) = address;
  });
}

cudaError_t cudaHostGetFlags(unsigned* flags, void* address) {
  return call(__func__, [&](runtime& r) {
    const allocation_ptr found = r.memory.issued(address);
    require(found != nullptr && found->kind == memory_kind::pinned, cudaErrorInvalidValue);
    target(flags) = found->flags;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* address) {
  return call(__func__, [&](runtime& r) {
    cudaPointerAttributes& made = target(out);
    made = {};
    made.device = cudaInvalidDeviceId;
    const allocation_ptr found = r.memory.issued(address);
    if (found == nullptr) {
      made.hostPointer = const_cast<void*>(address);
      return;
    }
    const bool is_device = found->kind == memory_kind::device;
    made.type = is_device                             ? cudaMemoryTypeDevice
                : found->kind == memory_kind::managed ? cudaMemoryTypeManaged
                                                      : cudaMemoryTypeHost;
    made.device = found->device;
    made.devicePointer = const_cast<void*>(address);
    made.hostPointer = is_device ? nullptr : const_cast<void*>(address);
  });
}

}  // extern "C"
