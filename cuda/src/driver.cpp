// SPDX-License-Identifier: Apache-2.0
//
// driver: opening a GPU, translating errors, streams, events, copies. Calls about memory are in
// driver_memory.cpp.
#include "driver.hpp"

#include <algorithm>
#include <cstdio>
#include <new>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

// Errors after which the context answers nothing else.
constexpr std::array sticky_errors = {cudaErrorECCUncorrectable,    cudaErrorIllegalAddress,
                                      cudaErrorLaunchTimeout,       cudaErrorAssert,
                                      cudaErrorHardwareStackError,  cudaErrorIllegalInstruction,
                                      cudaErrorMisalignedAddress,   cudaErrorInvalidAddressSpace,
                                      cudaErrorInvalidPc,           cudaErrorLaunchFailure,
                                      cudaErrorContextIsDestroyed,  cudaErrorCudartUnloading,
                                      cudaErrorNvlinkUncorrectable, cudaErrorMpsConnectionFailed};

constexpr bool depends_on_device(cudaStream_t stream) noexcept {
  return stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
}

/// Sets the current device only where a stream's handle needs it.
class device_of_stream {
 public:
  device_of_stream(int ordinal, cudaStream_t stream) noexcept {
    if (depends_on_device(stream)) {
      ::new (static_cast<void*>(&set_)) current_device(ordinal);
      is_set_ = true;
    }
  }
  ~device_of_stream() {
    if (is_set_) {
      set_.~current_device();
    }
  }
  device_of_stream(const device_of_stream&) = delete;
  device_of_stream& operator=(const device_of_stream&) = delete;

 private:
  union {
    current_device set_;
  };
  bool is_set_ = false;
};

[[nodiscard]] status no_device(cudaError_t error, std::uint16_t ordinal) noexcept {
  const char* text = "the CUDA driver does not start";
  switch (error) {
  case cudaSuccess:
  case cudaErrorNoDevice:
    text = "no CUDA device: this machine has no GPU, or CUDA_VISIBLE_DEVICES hides it";
    break;
  case cudaErrorInsufficientDriver:
    text = "no CUDA driver, or one that is too old for the CUDA runtime of this program";
    break;
  case cudaErrorSystemDriverMismatch:
    text = "the CUDA driver's parts do not match: the machine waits for a restart";
    break;
  default:
    break;
  }
  return {.code = errc::backend_unavailable,
          .native = static_cast<std::int32_t>(error),
          .where = device::cuda(ordinal),
          .text = text};
}

}  // namespace

current_device::current_device(int ordinal) noexcept {
  int now = -1;
  if (cudaGetDevice(&now) == cudaSuccess && now != ordinal &&
      cudaSetDevice(ordinal) == cudaSuccess) {
    previous_ = now;
  }
}

current_device::~current_device() {
  if (previous_ >= 0) {
    static_cast<void>(cudaSetDevice(previous_));
  }
}

outside_captures::outside_captures() noexcept {
  static_cast<void>(cudaThreadExchangeStreamCaptureMode(&previous_));
}

outside_captures::~outside_captures() {
  static_cast<void>(cudaThreadExchangeStreamCaptureMode(&previous_));
}

cudaStream_t handle_of(const stream_ref& stream) noexcept {
  if (stream.kind == stream_kind::per_thread) {
    return cudaStreamPerThread;
  }
  if (stream.kind == stream_kind::ordinary && stream.handle != nullptr) {
    return static_cast<cudaStream_t>(stream.handle);
  }
  return cudaStreamLegacy;
}

result<std::unique_ptr<driver>> driver::open(std::uint16_t ordinal) noexcept {
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    static_cast<void>(cudaGetLastError());
    return no_device(error, ordinal);
  }
  if (ordinal >= count) {
    return status{.code = errc::unknown_device,
                  .where = device::cuda(ordinal),
                  .text = "this machine has fewer GPUs"};
  }
  std::unique_ptr<driver> made(new (std::nothrow) driver(ordinal));
  if (made == nullptr) {
    return status{.code = errc::out_of_memory, .where = device::cuda(ordinal)};
  }
  cudaDeviceProp about;
  error = cudaGetDeviceProperties(&about, ordinal);
  if (error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return no_device(error, ordinal);
  }
  std::snprintf(made->name_.data(), made->name_.size(), "%s", about.name);
  made->total_bytes_ = about.totalGlobalMem;
  return made;
}

status driver::lost() const noexcept {
  return {.code = errc::device_lost,
          .native = lost_.load(std::memory_order_relaxed),
          .where = device::cuda(static_cast<std::uint16_t>(ordinal_)),
          .text = "the GPU answers nothing more in this process"};
}

status driver::answer(cudaError_t error, const char* text) noexcept {
  calls_.fetch_add(1, std::memory_order_relaxed);
  if (error == cudaSuccess) {
    return {};
  }
  // Ours to report: the caller's next cudaGetLastError is not to find it.
  static_cast<void>(cudaGetLastError());
  if (std::find(sticky_errors.begin(), sticky_errors.end(), error) != sticky_errors.end()) {
    lost_.store(static_cast<int>(error), std::memory_order_relaxed);
    return lost();
  }
  return {.code = error == cudaErrorMemoryAllocation ? errc::out_of_memory : errc::driver_error,
          .native = static_cast<std::int32_t>(error),
          .where = device::cuda(static_cast<std::uint16_t>(ordinal_)),
          .text = text};
}

int driver::attribute(cudaDeviceAttr which) noexcept {
  int value = 0;
  const status why = answer(cudaDeviceGetAttribute(&value, which, ordinal_), "an attribute");
  return why.ok() ? value : 0;
}

result<std::uint64_t> driver::stream_id(cudaStream_t of) noexcept {
  if (is_lost()) {
    return lost();
  }
  const device_of_stream here(ordinal_, of);
  unsigned long long id = 0;
  if (const status why = answer(cudaStreamGetId(of, &id), "asking a stream's number"); !why.ok()) {
    return why;
  }
  return std::uint64_t{id};
}

result<capture_state> driver::state_of(cudaStream_t of) noexcept {
  if (is_lost()) {
    return lost();
  }
  const device_of_stream here(ordinal_, of);
  cudaStreamCaptureStatus now = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(of, &now);
  if (error == cudaErrorStreamCaptureImplicit) {
    static_cast<void>(answer(cudaSuccess, nullptr));
    static_cast<void>(cudaGetLastError());
    return capture_state::blocked;
  }
  if (const status why = answer(error, "asking whether a stream captures"); !why.ok()) {
    return why;
  }
  return now == cudaStreamCaptureStatusNone ? capture_state::none : capture_state::captures;
}

status driver::synchronise(cudaStream_t stream) noexcept {
  if (is_lost()) {
    return lost();
  }
  const device_of_stream here(ordinal_, stream);
  const outside_captures relaxed;
  return answer(cudaStreamSynchronize(stream), "waiting for a stream");
}

status driver::synchronise_device() noexcept {
  if (is_lost()) {
    return lost();
  }
  const current_device here(ordinal_);
  const outside_captures relaxed;
  return answer(cudaDeviceSynchronize(), "waiting for the device");
}

result<cudaStream_t> driver::make_stream() noexcept {
  if (is_lost()) {
    return lost();
  }
  const current_device here(ordinal_);
  const outside_captures relaxed;
  cudaStream_t made = nullptr;
  if (const status why =
          answer(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "making a stream");
      !why.ok()) {
    return why;
  }
  return made;
}

status driver::destroy_stream(cudaStream_t stream) noexcept {
  const outside_captures relaxed;
  return is_lost() ? lost() : answer(cudaStreamDestroy(stream), "destroying a stream");
}

result<cudaEvent_t> driver::make_event() noexcept {
  if (is_lost()) {
    return lost();
  }
  const current_device here(ordinal_);
  const outside_captures relaxed;
  cudaEvent_t made = nullptr;
  if (const status why =
          answer(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "making an event");
      !why.ok()) {
    return why;
  }
  return made;
}

status driver::destroy_event(cudaEvent_t event) noexcept {
  const outside_captures relaxed;
  return is_lost() ? lost() : answer(cudaEventDestroy(event), "destroying an event");
}

status driver::record(cudaEvent_t event, cudaStream_t stream) noexcept {
  if (is_lost()) {
    return lost();
  }
  const device_of_stream here(ordinal_, stream);
  return answer(cudaEventRecord(event, stream), "recording an event");
}

result<bool> driver::is_done(cudaEvent_t event) noexcept {
  if (is_lost()) {
    return lost();
  }
  const outside_captures relaxed;
  const cudaError_t error = cudaEventQuery(event);
  if (error == cudaErrorNotReady) {
    static_cast<void>(answer(cudaSuccess, nullptr));
    static_cast<void>(cudaGetLastError());
    return false;
  }
  if (const status why = answer(error, "asking an event"); !why.ok()) {
    return why;
  }
  return true;
}

status driver::wait_on_host(cudaEvent_t event) noexcept {
  const outside_captures relaxed;
  return is_lost() ? lost() : answer(cudaEventSynchronize(event), "waiting for an event");
}

status driver::wait(cudaStream_t stream, cudaEvent_t event) noexcept {
  if (is_lost()) {
    return lost();
  }
  const device_of_stream here(ordinal_, stream);
  return answer(cudaStreamWaitEvent(stream, event, 0), "a stream's wait for an event");
}

status driver::copy(void* dst, const void* src, std::size_t bytes, cudaStream_t in) noexcept {
  if (is_lost()) {
    return lost();
  }
  const device_of_stream here(ordinal_, in);
  return answer(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, in), "a copy");
}

status driver::fill(void* dst, std::uint8_t value, std::size_t bytes, cudaStream_t in) noexcept {
  if (is_lost()) {
    return lost();
  }
  const device_of_stream here(ordinal_, in);
  return answer(cudaMemsetAsync(dst, value, bytes, in), "a fill");
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
