// SPDX-License-Identifier: Apache-2.0
//
// driver: opening a GPU, translating errors, streams, events. Calls about memory are in memory.cpp.
#include "driver/driver.hpp"

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <new>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

// Errors after which the context answers nothing else, some of them until the process ends. 226 and
// 721 have no name in the headers of CUDA 12.0. cudaErrorDeviceUninitialized is what drivers say of
// a context that the application has reset; our calls have a context in all other cases.
constexpr std::array<int, 20> sticky_errors = {cudaErrorCudartUnloading,
                                               cudaErrorDeviceUninitialized,
                                               cudaErrorECCUncorrectable,
                                               cudaErrorNvlinkUncorrectable,
                                               226,  // cudaErrorContained
                                               cudaErrorIllegalAddress,
                                               cudaErrorLaunchTimeout,
                                               cudaErrorContextIsDestroyed,
                                               cudaErrorAssert,
                                               cudaErrorHardwareStackError,
                                               cudaErrorIllegalInstruction,
                                               cudaErrorMisalignedAddress,
                                               cudaErrorInvalidAddressSpace,
                                               cudaErrorInvalidPc,
                                               cudaErrorLaunchFailure,
                                               721,  // cudaErrorTensorMemoryLeak
                                               cudaErrorMpsConnectionFailed,
                                               cudaErrorMpsRpcFailure,
                                               cudaErrorMpsClientTerminated,
                                               cudaErrorExternalDevice};

// `expected` is an answer and no failure: it becomes success, and the runtime's last error is
// cleared.
[[nodiscard]] cudaError_t forgiven(cudaError_t error, cudaError_t expected) noexcept {
  if (error != expected) {
    return error;
  }
  static_cast<void>(cudaGetLastError());
  return cudaSuccess;
}

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

// How often this process was made by fork since the library was loaded.
constinit std::atomic<unsigned> forks{0};

// A forked child must not call CUDA, not even to give memory back.
void notice_forks() noexcept {
  static const int error =
      ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(error);  // without memory for it, children are not noticed
}

}  // namespace

driver::driver(int ordinal) noexcept : ordinal_(ordinal), forks_at_opening_(forks.load()) {}

outside_captures::outside_captures() noexcept
    : is_exchanged_(cudaThreadExchangeStreamCaptureMode(&previous_) == cudaSuccess) {
  if (!is_exchanged_) {
    static_cast<void>(cudaGetLastError());
  }
}

outside_captures::~outside_captures() {
  if (is_exchanged_ && cudaThreadExchangeStreamCaptureMode(&previous_) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
  }
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
  notice_forks();
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
  made->gpu_count_ = count;
  if (status why = made->open_context(); !why.ok()) {
    return why;
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

status driver::open_context() noexcept {
  const cudaError_t error = context_.open(ordinal_);
  status why = answer(error, "opening the GPU's context");
  if (error == cudaErrorDevicesUnavailable) {
    why.code = errc::backend_unavailable;
    why.text = "the GPU is in exclusive use by another process (cudaErrorDevicesUnavailable): end "
               "that process, or set the compute mode to default";
  } else if (error == cudaErrorSymbolNotFound) {
    why.code = errc::backend_unavailable;
    why.text = "the CUDA driver lacks the functions for contexts (cudaErrorSymbolNotFound): "
               "install a newer driver";
  }
  return why;
}

driver::~driver() {
  if (!is_forked()) {
    context_.close();
  }
}

bool driver::is_forked() const noexcept {
  return forks.load(std::memory_order_relaxed) != forks_at_opening_;
}

status driver::lost() const noexcept {
  if (is_forked()) {
    return {.code = errc::device_lost,
            .where = device::cuda(static_cast<std::uint16_t>(ordinal_)),
            .text = "a GPU does not survive fork: open a backend in the child, or fork earlier"};
  }
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
  // We report the error, so the application's next cudaGetLastError must not find it.
  static_cast<void>(cudaGetLastError());
  if (std::find(sticky_errors.begin(), sticky_errors.end(), static_cast<int>(error)) !=
      sticky_errors.end()) {
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

result<std::uint64_t> driver::stream_id(cudaStream_t stream) noexcept {
  unsigned long long id = 0;
  const status why =
      on_device("asking a stream's number", [&] { return cudaStreamGetId(stream, &id); });
  return why.ok() ? result<std::uint64_t>(id) : why;
}

result<std::uint64_t> driver::id_of_new_stream(const stream_ref& stream) noexcept {
  const cudaStream_t handle = handle_of(stream);
  bool is_foreign = false;
  if (stream.kind == stream_kind::ordinary && handle != cudaStreamLegacy) {
    const status why = on_device("asking whose a stream is", [&] {
      is_foreign = context_.is_foreign(handle);
      return cudaSuccess;
    });
    if (!why.ok()) {
      return why;
    }
  }
  if (is_foreign) {
    return status{.code = errc::invalid_argument,
                  .where = device::cuda(static_cast<std::uint16_t>(ordinal_)),
                  .text = "the stream is one of another GPU, and orders nothing here"};
  }
  return stream_id(handle);
}

result<capture_state> driver::state_of(cudaStream_t stream) noexcept {
  cudaStreamCaptureStatus now = cudaStreamCaptureStatusNone;
  bool is_blocked = false;
  const status why = in_stream("asking whether a stream captures", [&] {
    const cudaError_t error = cudaStreamIsCapturing(stream, &now);
    is_blocked = error == cudaErrorStreamCaptureImplicit;
    return forgiven(error, cudaErrorStreamCaptureImplicit);
  });
  if (!why.ok()) {
    return why;
  }
  return is_blocked                           ? capture_state::blocked
         : now == cudaStreamCaptureStatusNone ? capture_state::none
                                              : capture_state::captures;
}

result<std::uint64_t> driver::capture_of(cudaStream_t stream) noexcept {
  cudaStreamCaptureStatus now = cudaStreamCaptureStatusNone;
  unsigned long long id = 0;
  const status why = in_stream("asking what a stream captures",
                               [&] { return cudaStreamGetCaptureInfo(stream, &now, &id); });
  if (!why.ok()) {
    return why;
  }
  return std::uint64_t{now == cudaStreamCaptureStatusActive ? id : 0};
}

template <class F>
bool driver::answers(F question) const noexcept {
  if (is_lost()) {
    return false;
  }
  const cudaError_t error = in_context(question);
  if (error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
  }
  return error == cudaSuccess;
}

bool driver::is_capturing(cudaStream_t stream) const noexcept {
  cudaStreamCaptureStatus now = cudaStreamCaptureStatusNone;
  return answers([&] { return cudaStreamIsCapturing(stream, &now); }) &&
         now != cudaStreamCaptureStatusNone;
}

bool driver::is_recycled(cudaStream_t stream, std::uint64_t id) const noexcept {
  unsigned long long now = id;
  const bool is_answered = answers([&] {
    const outside_captures relaxed;
    return cudaStreamGetId(stream, &now);
  });
  return is_answered && now != id;
}

// A capture that the host waits for ends without a graph, so this asks first.
status driver::synchronise(cudaStream_t stream) noexcept {
  const result<capture_state> now = state_of(stream);
  if (!now) {
    return now.error();
  }
  if (*now != capture_state::none) {
    return {.code = errc::stream_captures,
            .where = device::cuda(static_cast<std::uint16_t>(ordinal_)),
            .text = "the host cannot wait for a stream that captures"};
  }
  return on_device("waiting for a stream", [=] { return cudaStreamSynchronize(stream); });
}

status driver::synchronise_device() noexcept {
  return on_device("waiting for the device", [] { return cudaDeviceSynchronize(); });
}

result<cudaStream_t> driver::make_stream() noexcept {
  cudaStream_t made = nullptr;
  const status why = on_device(
      "making a stream", [&] { return cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking); });
  return why.ok() ? result<cudaStream_t>(made) : why;
}

status driver::destroy_stream(cudaStream_t stream) noexcept {
  return on_device("destroying a stream", [=] { return cudaStreamDestroy(stream); });
}

result<cudaEvent_t> driver::make_event() noexcept {
  cudaEvent_t made = nullptr;
  const status why = on_device(
      "making an event", [&] { return cudaEventCreateWithFlags(&made, cudaEventDisableTiming); });
  return why.ok() ? result<cudaEvent_t>(made) : why;
}

status driver::destroy_event(cudaEvent_t event) noexcept {
  return on_device("destroying an event", [=] { return cudaEventDestroy(event); });
}

status driver::record(cudaEvent_t event, cudaStream_t stream) noexcept {
  return in_stream("recording an event", [=] { return cudaEventRecord(event, stream); });
}

result<bool> driver::is_done(cudaEvent_t event) noexcept {
  bool is_done = true;
  const status why = on_device("asking an event", [&] {
    const cudaError_t error = cudaEventQuery(event);
    is_done = error != cudaErrorNotReady;
    return forgiven(error, cudaErrorNotReady);
  });
  return why.ok() ? result<bool>(is_done) : why;
}

status driver::wait_on_host(cudaEvent_t event) noexcept {
  return on_device("waiting for an event", [=] { return cudaEventSynchronize(event); });
}

status driver::wait(cudaStream_t stream, cudaEvent_t event) noexcept {
  return in_stream("a stream's wait for an event",
                   [=] { return cudaStreamWaitEvent(stream, event, 0); });
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
