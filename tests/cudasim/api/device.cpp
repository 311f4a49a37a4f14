// SPDX-License-Identifier: Apache-2.0
//
// Devices: count, attributes, limits, peers. All look like an sm_80 with 108 multiprocessors.
#include "api/call.hpp"

#include <cuda_profiler_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

using namespace cudasim;

namespace {

constexpr int highest_priority = -5;

const std::map<cudaDeviceAttr, int> fixed_attributes{
    {cudaDevAttrMaxThreadsPerBlock, 1024},
    {cudaDevAttrMaxBlockDimX, 1024},
    {cudaDevAttrMaxBlockDimY, 1024},
    {cudaDevAttrMaxBlockDimZ, 64},
    {cudaDevAttrMaxGridDimX, 0x7fffffff},
    {cudaDevAttrMaxGridDimY, 65535},
    {cudaDevAttrMaxGridDimZ, 65535},
    {cudaDevAttrMaxSharedMemoryPerBlock, 48 * 1024},
    {cudaDevAttrMaxSharedMemoryPerBlockOptin, 163 * 1024},
    {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 164 * 1024},
    {cudaDevAttrReservedSharedMemoryPerBlock, 1024},
    {cudaDevAttrTotalConstantMemory, 65536},
    {cudaDevAttrWarpSize, 32},
    {cudaDevAttrMaxRegistersPerBlock, 65536},
    {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
    {cudaDevAttrClockRate, 1410000},
    {cudaDevAttrMemoryClockRate, 1215000},
    {cudaDevAttrGlobalMemoryBusWidth, 5120},
    {cudaDevAttrL2CacheSize, 40 << 20},
    {cudaDevAttrMultiProcessorCount, 108},
    {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
    {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
    {cudaDevAttrComputeCapabilityMajor, 8},
    {cudaDevAttrComputeCapabilityMinor, 0},
    {cudaDevAttrComputeMode, cudaComputeModeDefault},
    {cudaDevAttrAsyncEngineCount, 2},
    {cudaDevAttrTextureAlignment, 512},
    {cudaDevAttrMaxPitch, 0x7fffffff},
    {cudaDevAttrConcurrentKernels, 1},
    {cudaDevAttrUnifiedAddressing, 1},
    {cudaDevAttrCanMapHostMemory, 1},
    {cudaDevAttrGpuOverlap, 1},
    {cudaDevAttrStreamPrioritiesSupported, 1},
    {cudaDevAttrCooperativeLaunch, 1},
    {cudaDevAttrHostRegisterSupported, 1},
    {cudaDevAttrGlobalL1CacheSupported, 1},
    {cudaDevAttrLocalL1CacheSupported, 1},
    {cudaDevAttrCanUseHostPointerForRegisteredMem, 1},
    {cudaDevAttrComputePreemptionSupported, 1},
    {cudaDevAttrHostNumaId, 0},
    {cudaDevAttrNumaId, -1},
};

int attribute(const runtime& r, cudaDeviceAttr wanted, int ordinal) {
  switch (wanted) {
  case cudaDevAttrManagedMemory:
    return r.set.lacks("managed") ? 0 : 1;
  case cudaDevAttrConcurrentManagedAccess:
    return r.set.lacks("managed") || r.set.lacks("concurrent") ? 0 : 1;
  case cudaDevAttrHostRegisterReadOnlySupported:
    return r.set.lacks("readonly") ? 0 : 1;
  case cudaDevAttrMemoryPoolsSupported:
  case cudaDevAttrHostMemoryPoolsSupported:
  case cudaDevAttrHostNumaMemoryPoolsSupported:
    return r.set.lacks("pools") ? 0 : 1;
  case cudaDevAttrMemoryPoolSupportedHandleTypes:
    return r.set.lacks("ipc") || r.set.lacks("pools") ? 0 : cudaMemHandleTypePosixFileDescriptor;
  case cudaDevAttrIpcEventSupport:
    return r.set.lacks("ipc") ? 0 : 1;
  case cudaDevAttrPciBusId:
    return ordinal + 1;
  default:
    break;
  }
  const auto found = fixed_attributes.find(wanted);
  return found == fixed_attributes.end() ? 0 : found->second;
}

void describe(const runtime& r, int ordinal, cudaDeviceProp& of) {
  std::memset(&of, 0, sizeof of);
  std::snprintf(of.name, sizeof of.name, "cudasim sm_80");
  of.uuid.bytes[0] = static_cast<char>(ordinal + 1);
  of.pciBusID = ordinal + 1;
  of.totalGlobalMem = r.set.memory_bytes;
  of.sharedMemPerBlock = 48 * 1024;
  of.sharedMemPerBlockOptin = 163 * 1024;
  of.sharedMemPerMultiprocessor = 164 * 1024;
  of.reservedSharedMemPerBlock = 1024;
  of.regsPerBlock = of.regsPerMultiprocessor = 65536;
  of.warpSize = 32;
  of.maxThreadsPerBlock = 1024;
  of.maxThreadsDim[0] = of.maxThreadsDim[1] = 1024;
  of.maxThreadsDim[2] = 64;
  of.maxGridSize[0] = 0x7fffffff;
  of.maxGridSize[1] = of.maxGridSize[2] = 65535;
  of.totalConstMem = 65536;
  of.major = 8;
  of.multiProcessorCount = 108;
  of.maxThreadsPerMultiProcessor = 2048;
  of.maxBlocksPerMultiProcessor = 32;
  of.l2CacheSize = 40 << 20;
  of.memoryBusWidth = 5120;
  of.unifiedAddressing = of.concurrentKernels = of.canMapHostMemory = of.cooperativeLaunch =
      of.streamPrioritiesSupported = of.hostRegisterSupported = 1;
  of.managedMemory = attribute(r, cudaDevAttrManagedMemory, ordinal);
  of.concurrentManagedAccess = attribute(r, cudaDevAttrConcurrentManagedAccess, ordinal);
  of.hostRegisterReadOnlySupported =
      attribute(r, cudaDevAttrHostRegisterReadOnlySupported, ordinal);
  of.memoryPoolsSupported = r.set.lacks("pools") ? 0 : 1;
  of.memoryPoolSupportedHandleTypes =
      static_cast<unsigned>(attribute(r, cudaDevAttrMemoryPoolSupportedHandleTypes, ordinal));
  of.ipcEventSupported = r.set.lacks("ipc") ? 0 : 1;
  of.deviceNumaId = -1;
  of.asyncEngineCount = 2;
  of.textureAlignment = 512;
  of.memPitch = 0x7fffffff;
}

std::size_t usual_limit(cudaLimit which) {
  switch (which) {
  case cudaLimitStackSize:
    return 1024;
  case cudaLimitPrintfFifoSize:
    return std::size_t{1} << 20;
  case cudaLimitMallocHeapSize:
    return std::size_t{8} << 20;
  default:
    return 0;
  }
}

}  // namespace

extern "C" {

// For api/cuda12, uncounted and within the one call of the program.
int device_attribute_of_13(int ordinal, int wanted);
int device_attribute_of_13(int ordinal, int wanted) {
  runtime& r = runtime::get();
  const std::lock_guard guard(r.lock);
  return attribute(r, static_cast<cudaDeviceAttr>(wanted), ordinal);
}

cudaError_t cudaGetDeviceCount(int* count) {
  return call_without_device(__func__, [&](runtime& r) {
    target(count) = 0;
    require(missing_device(r) == cudaSuccess, missing_device(r));
    *count = r.set.devices;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  return call_without_device(__func__, [&](runtime& r) { target(version) = r.set.driver_version; });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return call_without_device(__func__,
                             [&](runtime&) { target(version) = cudasim_runtime_version; });
}

cudaError_t cudaGetDevice(int* ordinal) {
  return call(__func__, [&](runtime&) { target(ordinal) = current_device; });
}

cudaError_t cudaSetDevice(int ordinal) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, ordinal));
    use_primary_context(r, ordinal);
  });
}

cudaError_t cudaInitDevice(int ordinal, unsigned, unsigned) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, ordinal));
    primary_context(r, ordinal);
  });
}

cudaError_t cudaChooseDevice(int* ordinal, const cudaDeviceProp*) {
  return call(__func__, [&](runtime&) { target(ordinal) = 0; });
}

cudaError_t cudaSetValidDevices(int*, int) {
  return call(__func__, [](runtime&) {});
}

cudaError_t cudaSetDeviceFlags(unsigned flags) {
  return call(__func__, [&](runtime& r) { device_now(r).flags = flags; });
}

cudaError_t cudaGetDeviceFlags(unsigned* flags) {
  return call(__func__, [&](runtime& r) { target(flags) = device_now(r).flags; });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr wanted, int ordinal) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, ordinal));
    target(value) = attribute(r, wanted, ordinal);
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int ordinal) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, ordinal));
    describe(r, ordinal, target(properties));
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call(__func__, [](runtime& r) {
    r.require_no_capture_on(current_device);
    r.synchronize_device(current_device);
  });
}

cudaError_t cudaDeviceReset() {
  return call(__func__, [](runtime& r) {
    r.reset_device(current_device);
    end_primary_context(current_device);
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return call(__func__, [&](runtime&) {
    if (least != nullptr) {
      *least = 0;
    }
    if (greatest != nullptr) {
      *greatest = highest_priority;
    }
  });
}

cudaError_t cudaDeviceGetLimit(std::size_t* value, cudaLimit which) {
  return call(__func__, [&](runtime& r) {
    const auto& limits = device_now(r).limits;
    const auto found = limits.find(which);
    target(value) = found == limits.end() ? usual_limit(which) : found->second;
  });
}

cudaError_t cudaDeviceSetLimit(cudaLimit which, std::size_t value) {
  return call(__func__, [&](runtime& r) { device_now(r).limits[which] = value; });
}

cudaError_t cudaDeviceGetCacheConfig(cudaFuncCache* config) {
  return call(__func__, [&](runtime&) { target(config) = cudaFuncCachePreferNone; });
}

cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) {
  return call(__func__, [](runtime&) {});
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int ordinal, int peer) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, ordinal));
    static_cast<void>(device_at(r, peer));
    target(can) = ordinal != peer && !r.set.lacks("peers") ? 1 : 0;
  });
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, peer));
    require(flags == 0 && peer != current_device, cudaErrorInvalidValue);
    require(!r.set.lacks("peers"), cudaErrorPeerAccessUnsupported);
    require(r.peers.emplace(current_device, peer).second, cudaErrorPeerAccessAlreadyEnabled);
  });
}

cudaError_t cudaDeviceDisablePeerAccess(int peer) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, peer));
    require(r.peers.erase({current_device, peer}) != 0, cudaErrorPeerAccessNotEnabled);
  });
}

cudaError_t cudaDeviceGetP2PAttribute(int* value, cudaDeviceP2PAttr wanted, int ordinal, int peer) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, ordinal));
    static_cast<void>(device_at(r, peer));
    require(ordinal != peer, cudaErrorInvalidDevice);
    const bool answers_yes =
        wanted == cudaDevP2PAttrAccessSupported || wanted == cudaDevP2PAttrNativeAtomicSupported;
    target(value) = answers_yes && !r.set.lacks("peers") ? 1 : 0;
  });
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int ordinal) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, ordinal));
    require(text != nullptr && length > 12, cudaErrorInvalidValue);
    std::snprintf(text, static_cast<std::size_t>(length), "0000:%02x:00.0", ordinal + 1);
  });
}

cudaError_t cudaDeviceGetByPCIBusId(int* ordinal, const char* text) {
  return call(__func__, [&](runtime& r) {
    unsigned bus = 0;
    require(text != nullptr && std::sscanf(text, "%*x:%x", &bus) == 1, cudaErrorInvalidValue);
    static_cast<void>(device_at(r, static_cast<int>(bus) - 1));
    target(ordinal) = static_cast<int>(bus) - 1;
  });
}

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  return call(__func__, [&](runtime& r) {
    const std::uint64_t total = r.set.memory_bytes;
    target(total_bytes) = total;
    target(free_bytes) = total - std::min(total, r.reserved_on(current_device));
  });
}

cudaError_t cudaProfilerStart() {
  return call(__func__, [](runtime&) {});
}
cudaError_t cudaProfilerStop() {
  return call(__func__, [](runtime&) {});
}

}  // extern "C"
