// SPDX-License-Identifier: Apache-2.0
//
// primary_context: looking the driver's functions up, retaining and releasing.
#include "driver/context.hpp"

#include <initializer_list>

namespace tidepool {
inline namespace v0 {
namespace cuda {

// The function that takes a version came with 12.5. Builds for CUDA 12 use the one that every 12.x
// has, so that a library built with newer headers loads on an older runtime too: it answers what
// was current in 12.0 or later, which for the functions used here is the same.
entry_point find_entry_point(const char* name) noexcept {
  entry_point found;
#if CUDART_VERSION >= 13000
  constexpr unsigned version = 12000;
  cudaDriverEntryPointQueryResult answer{};
  found.error =
      cudaGetDriverEntryPointByVersion(name, &found.function, version, cudaEnableDefault, &answer);
  if (found.error == cudaSuccess && answer != cudaDriverEntryPointSuccess) {
    found.error = cudaErrorSymbolNotFound;
  }
#else
  found.error = cudaGetDriverEntryPoint(name, &found.function, cudaEnableDefault);
#endif
  if (found.error == cudaSuccess && found.function == nullptr) {
    found.error = cudaErrorSymbolNotFound;
  }
  return found;
}

cudaError_t primary_context::open(int ordinal) noexcept {
  const entry_point get_device = find_entry_point("cuDeviceGet");
  const entry_point retain = find_entry_point("cuDevicePrimaryCtxRetain");
  const entry_point release = find_entry_point("cuDevicePrimaryCtxRelease");
  const entry_point push = find_entry_point("cuCtxPushCurrent");
  const entry_point pop = find_entry_point("cuCtxPopCurrent");
  const entry_point stream_context = find_entry_point("cuStreamGetCtx");
  const entry_point current_device = find_entry_point("cuCtxGetDevice");
  for (const entry_point& each :
       {get_device, retain, release, push, pop, stream_context, current_device}) {
    if (each.error != cudaSuccess) {
      return each.error;
    }
  }
  release_ = reinterpret_cast<decltype(release_)>(release.function);
  push_ = reinterpret_cast<decltype(push_)>(push.function);
  pop_ = reinterpret_cast<decltype(pop_)>(pop.function);
  stream_context_ = reinterpret_cast<decltype(stream_context_)>(stream_context.function);
  current_device_ = reinterpret_cast<decltype(current_device_)>(current_device.function);
  if (const entry_point get_id = find_entry_point("cuCtxGetId"); get_id.error == cudaSuccess) {
    get_id_ = reinterpret_cast<decltype(get_id_)>(get_id.function);
  }
  CUresult error = reinterpret_cast<decltype(&cuDeviceGet)>(get_device.function)(&device_, ordinal);
  if (error == CUDA_SUCCESS) {
    error =
        reinterpret_cast<decltype(&cuDevicePrimaryCtxRetain)>(retain.function)(&handle_, device_);
  }
  if (error == CUDA_SUCCESS && get_id_ != nullptr && get_id_(handle_, &id_) != CUDA_SUCCESS) {
    get_id_ = nullptr;
  }
  return static_cast<cudaError_t>(error);
}

bool primary_context::is_foreign(cudaStream_t stream) const noexcept {
  CUcontext of = nullptr;
  if (stream_context_(stream, &of) != CUDA_SUCCESS || of == handle_ || push_(of) != CUDA_SUCCESS) {
    return false;
  }
  CUdevice device = device_;
  static_cast<void>(current_device_(&device));
  static_cast<void>(pop_(&of));
  return device != device_;
}

void primary_context::close() noexcept {
  if (handle_ != nullptr) {
    static_cast<void>(release_(device_));
    handle_ = nullptr;
  }
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
