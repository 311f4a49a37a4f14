// SPDX-License-Identifier: Apache-2.0
//
// What libcudart.so.12 has otherwise than libcudart.so.13. The simulator is compiled with the
// headers of CUDA 13 for both. Where CUDA 12 has the same function under another name (..._v2 or
// ..._v3), the linker renames it (renamed.txt); what is left is here, compiled with the headers of
// CUDA 12: structures and parameters that changed, translated.
#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstring>

static_assert(CUDART_VERSION >= 12080 && CUDART_VERSION < 13000);

namespace {

/// No structure that grew or shrank is longer than this in CUDA 13.
struct structure_of_13 {
  alignas(16) std::array<std::byte, 4096> bytes;
};

cudaMemLocation location_of(int device) {
  return device == cudaCpuDeviceId ? cudaMemLocation{cudaMemLocationTypeHost, 0}
                                   : cudaMemLocation{cudaMemLocationTypeDevice, device};
}

/// What CUDA 13 has removed from the middle, and all that follows, is asked for one by one.
struct asked_property {
  int cudaDeviceProp::*member;
  cudaDeviceAttr attribute;
};
constexpr std::array asked_properties{
    asked_property{&cudaDeviceProp::major, cudaDevAttrComputeCapabilityMajor},
    asked_property{&cudaDeviceProp::minor, cudaDevAttrComputeCapabilityMinor},
    asked_property{&cudaDeviceProp::multiProcessorCount, cudaDevAttrMultiProcessorCount},
    asked_property{&cudaDeviceProp::integrated, cudaDevAttrIntegrated},
    asked_property{&cudaDeviceProp::canMapHostMemory, cudaDevAttrCanMapHostMemory},
    asked_property{&cudaDeviceProp::concurrentKernels, cudaDevAttrConcurrentKernels},
    asked_property{&cudaDeviceProp::pciBusID, cudaDevAttrPciBusId},
    asked_property{&cudaDeviceProp::asyncEngineCount, cudaDevAttrAsyncEngineCount},
    asked_property{&cudaDeviceProp::unifiedAddressing, cudaDevAttrUnifiedAddressing},
    asked_property{&cudaDeviceProp::memoryBusWidth, cudaDevAttrGlobalMemoryBusWidth},
    asked_property{&cudaDeviceProp::l2CacheSize, cudaDevAttrL2CacheSize},
    asked_property{&cudaDeviceProp::maxThreadsPerMultiProcessor,
                   cudaDevAttrMaxThreadsPerMultiProcessor},
    asked_property{&cudaDeviceProp::managedMemory, cudaDevAttrManagedMemory},
    asked_property{&cudaDeviceProp::concurrentManagedAccess, cudaDevAttrConcurrentManagedAccess},
    asked_property{&cudaDeviceProp::cooperativeLaunch, cudaDevAttrCooperativeLaunch},
    asked_property{&cudaDeviceProp::hostRegisterSupported, cudaDevAttrHostRegisterSupported},
    asked_property{&cudaDeviceProp::hostRegisterReadOnlySupported,
                   cudaDevAttrHostRegisterReadOnlySupported},
    asked_property{&cudaDeviceProp::memoryPoolsSupported, cudaDevAttrMemoryPoolsSupported},
    asked_property{&cudaDeviceProp::ipcEventSupported, cudaDevAttrIpcEventSupport},
};

}  // namespace

extern "C" {

// By what renamed.txt calls them. Structures are those of CUDA 13.
cudaError_t device_properties_of_13(void* properties, int ordinal);
int device_attribute_of_13(int ordinal, int wanted);
cudaError_t pointer_attributes_of_13(void* attributes, const void* address);
cudaError_t memcpy_batch_of_13(void* const* targets, const void* const* sources,
                               const std::size_t* bytes, std::size_t count,
                               cudaMemcpyAttributes* attributes, std::size_t* first_uses,
                               std::size_t attribute_count, cudaStream_t in);

cudaError_t cudaMemPrefetchAsync(const void* address, std::size_t bytes, int to, cudaStream_t in) {
  return cudaMemPrefetchAsync_v2(address, bytes, location_of(to), 0, in);
}

cudaError_t cudaMemAdvise(const void* address, std::size_t bytes, cudaMemoryAdvise advice,
                          int device) {
  return cudaMemAdvise_v2(address, bytes, advice, location_of(device));
}

cudaError_t cudaMemcpyBatchAsync(void** targets, void** sources, std::size_t* bytes,
                                 std::size_t count, cudaMemcpyAttributes* attributes,
                                 std::size_t* first_uses, std::size_t attribute_count,
                                 std::size_t* failed, cudaStream_t in) {
  const cudaError_t error = memcpy_batch_of_13(targets, sources, bytes, count, attributes,
                                               first_uses, attribute_count, in);
  if (error != cudaSuccess && failed != nullptr) {
    *failed = ~std::size_t{0};  // not known which
  }
  return error;
}

// The headers name it cudaStreamGetCaptureInfo_v2.
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t in, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* graph,
                                     const cudaGraphNode_t** last, std::size_t* count) {
  return cudaStreamGetCaptureInfo_v3(in, status, id, graph, last, nullptr, count);
}

cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t in, cudaGraphNode_t* nodes,
                                                std::size_t count, unsigned flags) {
  return cudaStreamUpdateCaptureDependencies_v2(in, nodes, nullptr, count, flags);
}

cudaError_t cudaGraphAddDependencies(cudaGraph_t to, const cudaGraphNode_t* from,
                                     const cudaGraphNode_t* until, std::size_t count) {
  return cudaGraphAddDependencies_v2(to, from, until, nullptr, count);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return cudaEventElapsedTime_v2(milliseconds, begin, end);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  structure_of_13 made;
  const bool is_wanted = attributes != nullptr;
  const cudaError_t error = pointer_attributes_of_13(is_wanted ? &made : nullptr, address);
  if (error == cudaSuccess) {
    std::memcpy(attributes, &made, sizeof *attributes);
  }
  return error;
}

// The headers name it cudaGetDeviceProperties_v2.
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int ordinal) {
  structure_of_13 made;
  const bool is_wanted = properties != nullptr;
  const cudaError_t error = device_properties_of_13(is_wanted ? &made : nullptr, ordinal);
  if (error != cudaSuccess) {
    return error;
  }
  *properties = {};
  std::memcpy(properties, &made, offsetof(cudaDeviceProp, clockRate));
  for (const asked_property& each : asked_properties) {
    properties->*each.member = device_attribute_of_13(ordinal, each.attribute);
  }
  return cudaSuccess;
}

}  // extern "C"
