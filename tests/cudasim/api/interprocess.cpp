// SPDX-License-Identifier: Apache-2.0
//
// Handles that other processes open: of memory, events and pools. All are tickets of 64 bytes, but
// a pool's, which is a file descriptor.
#include "api/call.hpp"

#include <fcntl.h>

#include <bit>

using namespace cudasim;

namespace {

// Programs hand tickets over as bytes of CUDA's own types.
template <class T>
void give(T* out, const ticket& made) {
  target(out) = std::bit_cast<T>(made);
}

template <class F>
cudaError_t shared_call(const char* name, F body) {
  return call(name, [&](runtime& r) {
    require(!r.set.lacks("ipc"), cudaErrorNotSupported);
    body(r);
  });
}

void require_descriptors(cudaMemAllocationHandleType type, unsigned flags) {
  require(type == cudaMemHandleTypePosixFileDescriptor && flags == 0, cudaErrorInvalidValue);
}

}  // namespace

extern "C" {

cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t* out, void* address) {
  return shared_call(__func__, [&](runtime& r) { give(out, r.export_memory(address)); });
}

cudaError_t cudaIpcOpenMemHandle(void** out, cudaIpcMemHandle_t handle, unsigned flags) {
  return shared_call(__func__, [&](runtime& r) {
    require(flags == cudaIpcMemLazyEnablePeerAccess, cudaErrorInvalidValue);
    target(out) = nullptr;
    *out = r.open_memory(std::bit_cast<ticket>(handle));
  });
}

cudaError_t cudaIpcCloseMemHandle(void* address) {
  return shared_call(__func__, [&](runtime& r) { r.close_memory(address); });
}

cudaError_t cudaIpcGetEventHandle(cudaIpcEventHandle_t* out, cudaEvent_t handle) {
  return shared_call(__func__, [&](runtime& r) { give(out, r.export_event(r.event_of(handle))); });
}

cudaError_t cudaIpcOpenEventHandle(cudaEvent_t* out, cudaIpcEventHandle_t handle) {
  return shared_call(__func__, [&](runtime& r) {
    target(out) = nullptr;
    *out = reinterpret_cast<cudaEvent_t>(&r.open_event(std::bit_cast<ticket>(handle)));
  });
}

// The descriptor is the caller's, who closes it.
cudaError_t cudaMemPoolExportToShareableHandle(void* out, cudaMemPool_t handle,
                                               cudaMemAllocationHandleType type, unsigned flags) {
  return shared_call(__func__, [&](runtime& r) {
    require_descriptors(type, flags);
    const pool& of = r.pool_of(handle);
    require(of.table != nullptr && !of.imported, cudaErrorInvalidValue);
    int& descriptor = target(static_cast<int*>(out));
    const int copied = fcntl(of.table->descriptor(), F_DUPFD_CLOEXEC, 0);
    require(copied >= 0, cudaErrorMemoryAllocation);
    descriptor = copied;
  });
}

cudaError_t cudaMemPoolImportFromShareableHandle(cudaMemPool_t* out, void* handle,
                                                 cudaMemAllocationHandleType type, unsigned flags) {
  return shared_call(__func__, [&](runtime& r) {
    require_descriptors(type, flags);
    target(out) = nullptr;
    const auto descriptor = static_cast<int>(reinterpret_cast<std::intptr_t>(handle));
    *out = reinterpret_cast<cudaMemPool_t>(&r.import_pool(descriptor));
  });
}

cudaError_t cudaMemPoolExportPointer(cudaMemPoolPtrExportData* out, void* address) {
  return shared_call(__func__, [&](runtime& r) { give(out, r.export_pooled(address)); });
}

cudaError_t cudaMemPoolImportPointer(void** out, cudaMemPool_t handle,
                                     cudaMemPoolPtrExportData* data) {
  return shared_call(__func__, [&](runtime& r) {
    pool& from = r.pool_of(handle);
    target(out) = nullptr;
    *out = r.import_pooled(from, std::bit_cast<ticket>(target(data)));
  });
}

}  // extern "C"
