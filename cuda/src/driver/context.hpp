// SPDX-License-Identifier: Apache-2.0
//
// primary_context: the context of one GPU that the CUDA runtime uses too, retained until it is
// closed. current_context: makes it the calling thread's current context meanwhile. Afterwards the
// thread has the context that it had before, whatever kind that is, or none; and no context is made
// on any other GPU, as cudaSetDevice would. The driver's functions are looked up by the runtime, so
// that no program links the driver. Thread-safe. No function throws.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// An entry point of the driver, or why there is none.
struct entry_point {
  cudaError_t error = cudaSuccess;
  void* function = nullptr;  // never null if error is cudaSuccess
};
/// The function as CUDA 12.0 had it.
[[nodiscard]] entry_point find_entry_point(const char* name) noexcept;

class primary_context {
 public:
  primary_context() = default;
  primary_context(const primary_context&) = delete;
  primary_context& operator=(const primary_context&) = delete;
  ~primary_context() = default;

  /// Makes the context if the process has none on this GPU. Pre: not opened before.
  /// cudaErrorSymbolNotFound: the driver has no such functions.
  [[nodiscard]] cudaError_t open(int ordinal) noexcept;
  /// Releases it. Not to be called in a forked child.
  void close() noexcept;
  /// Is the stream one of another GPU? Of a stream that cannot be told, false. Pre: the context is
  /// open, and the stream does not capture.
  [[nodiscard]] bool is_foreign(cudaStream_t stream) const noexcept;

 private:
  friend class current_context;

  [[nodiscard]] bool is_still_the_same() const noexcept {
    unsigned long long now = id_;
    return get_id_ == nullptr || (get_id_(handle_, &now) == CUDA_SUCCESS && now == id_);
  }

  decltype(&cuDevicePrimaryCtxRelease) release_ = nullptr;
  decltype(&cuCtxPushCurrent) push_ = nullptr;
  decltype(&cuCtxPopCurrent) pop_ = nullptr;
  decltype(&cuStreamGetCtx) stream_context_ = nullptr;
  decltype(&cuCtxGetDevice) current_device_ = nullptr;
  decltype(&cuCtxGetId) get_id_ = nullptr;  // null: a driver before 12.0
  CUdevice device_ = 0;
  CUcontext handle_ = nullptr;
  unsigned long long id_ = 0;
};

class current_context {
 public:
  /// Pre: the context is open. cudaErrorContextIsDestroyed: the application has reset the GPU, and
  /// another context has the handle by now.
  explicit current_context(const primary_context& wanted) noexcept
      : of_(&wanted), error_(static_cast<cudaError_t>(wanted.push_(wanted.handle_))) {
    if (error_ == cudaSuccess && !wanted.is_still_the_same()) {
      CUcontext other = nullptr;
      static_cast<void>(wanted.pop_(&other));
      error_ = cudaErrorContextIsDestroyed;
    }
  }
  ~current_context() {
    CUcontext ours = nullptr;
    if (error_ == cudaSuccess) {
      static_cast<void>(of_->pop_(&ours));
    }
  }
  current_context(const current_context&) = delete;
  current_context& operator=(const current_context&) = delete;
  /// The driver's error if the context could not be made current, else cudaSuccess. Their numbers
  /// are the runtime's.
  [[nodiscard]] cudaError_t error() const noexcept { return error_; }

 private:
  const primary_context* of_;
  cudaError_t error_;
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
