// SPDX-License-Identifier: Apache-2.0
//
// The frame of every API function: the lock, the count, planted faults, missing devices, sticky
// errors, and the thread's last error. For api/ only.
#pragma once

#include "runtime/runtime.hpp"

#include <exception>
#include <mutex>
#include <new>
#include <type_traits>

namespace cudasim {

inline constexpr int runtime_version = 13000;

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
  return r.set.driver_version < runtime_version ? cudaErrorInsufficientDriver
         : r.set.devices == 0                   ? cudaErrorNoDevice
                                                : cudaSuccess;
}

// `name` is what counts and reports call the function.
template <class F>
cudaError_t call(const char* name, F body) {
  runtime& r = runtime::get();
  const std::lock_guard guard(r.lock);
  r.note_host_accesses();
  r.call_name = name;
  ++r.counts.calls[name];
  auto error = static_cast<cudaError_t>(r.faults.next(name));
  if (error == cudaSuccess) {
    error = missing_device(r);
  }
  if (error == cudaSuccess) {
    error = r.sticky;
  }
  if (error == cudaSuccess) {
    error = run_body(r, body);
    if (error == cudaSuccess) {
      error = r.sticky;
    }
  }
  if (error != cudaSuccess && error != cudaErrorNotReady) {
    last_error = error;
  }
  return error;
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
