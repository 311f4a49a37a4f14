// SPDX-License-Identifier: Apache-2.0
//
// The frame of every API function: the lock, the count, planted faults, missing devices, sticky
// errors, and the thread's last error. For api/ only.
#pragma once

#include "api/place.hpp"
#include "runtime/context.hpp"
#include "runtime/runtime.hpp"

#include <exception>
#include <mutex>
#include <new>
#include <type_traits>

/// 13000 in libcudart.so.13; made with the stubs (CMakeLists.txt).
extern "C" const int cudasim_runtime_version;

namespace cudasim {

// Runs body(runtime&), which returns an error or nothing, and refuses by throwing.
template <class F>
cudaError_t run_body(runtime& r, F& body) {
  try {
    if constexpr (std::is_void_v<decltype(body(r))>) {
      body(r);
      return cudaSuccess;
    } else {
      return body(r);
    }
  } catch (const refusal& no) {
    return no.error;
  } catch (const fault& raised) {
    r.fail(static_cast<cudaError_t>(raised.code), raised.kind, raised.what());
    return r.sticky;
  } catch (const std::bad_alloc&) {
    return cudaErrorMemoryAllocation;
  }
}

[[nodiscard]] inline cudaError_t missing_device(const runtime& r) {
  constexpr int major = 1000;  // a driver serves all runtimes of its major version
  return r.set.driver_version / major < cudasim_runtime_version / major
             ? cudaErrorInsufficientDriver
         : r.set.devices == 0 ? cudaErrorNoDevice
                              : cudaSuccess;
}

// Counts the call; answers the error that was planted for it. `name` is what counts and reports
// call the function.
[[nodiscard]] inline cudaError_t begin_call(runtime& r, const char* name) {
  r.note_host_accesses();
  r.call_name = name;
  report_bad_place(r, name);
  ++r.counts.calls[name];
  const injection::strike struck = r.faults.next(name);
  const auto error = static_cast<cudaError_t>(struck.error);
  if (struck.loses_device && r.sticky == cudaSuccess) {
    r.sticky = error;
  }
  return error;
}

inline cudaError_t end_call(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) {
    last_error = error;
  }
  return error;
}

template <class F>
cudaError_t call(const char* name, F body) {
  if (is_host_function) {
    return end_call(cudaErrorNotPermitted);
  }
  runtime& r = runtime::get();
  const std::lock_guard guard(r.lock);
  cudaError_t error = begin_call(r, name);
  if (error == cudaSuccess) {
    error = missing_device(r);
  }
  if (error == cudaSuccess) {
    error = r.sticky;
  }
  if (error == cudaSuccess) {
    open_context_for(r, name);
    r.let_others_capture();
    error = run_body(r, body);
    if (error == cudaSuccess) {
      error = r.sticky;
    }
  }
  return end_call(error);
}

// The same for what is answered without a device too.
template <class F>
cudaError_t call_without_device(const char* name, F body) {
  runtime& r = runtime::get();
  const std::lock_guard guard(r.lock);
  const cudaError_t error = begin_call(r, name);
  return end_call(error == cudaSuccess ? run_body(r, body) : error);
}

[[nodiscard]] inline device& device_at(runtime& r, int ordinal) {
  require(ordinal >= 0 && ordinal < r.set.devices, cudaErrorInvalidDevice);
  return r.devices[static_cast<std::size_t>(ordinal)];
}
[[nodiscard]] inline device& device_now(runtime& r) {
  return device_at(r, current_device);
}

template <class T>
T& target(T* out) {
  require(out != nullptr, cudaErrorInvalidValue);
  return *out;
}

}  // namespace cudasim
