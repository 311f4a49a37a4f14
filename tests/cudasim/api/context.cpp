// SPDX-License-Identifier: Apache-2.0
//
// Contexts as the driver has them: primary ones, created ones, the thread's stack; and which calls
// of the runtime make one. Setting and asking the current context is not counted as a call and
// strikes faults only by its name, as it stands around every other call of careful programs.
#include "runtime/context.hpp"

#include "api/call.hpp"

#include <cuda.h>

#include <cstring>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

namespace cudasim {

namespace {

// Guarded by the runtime's lock. Never erased: programs may keep handles of ended contexts.
std::map<int, context> primaries;
std::vector<std::unique_ptr<context>> created;
std::uint64_t latest_id = 0;

// The runtime answers these without a context.
constexpr std::array<std::string_view, 22> without_context{
    "cudaGetDevice",
    "cudaSetDevice",
    "cudaInitDevice",
    "cudaGetDeviceCount",
    "cudaGetDeviceProperties",
    "cudaDeviceGetAttribute",
    "cudaDeviceCanAccessPeer",
    "cudaDeviceGetP2PAttribute",
    "cudaDeviceGetPCIBusId",
    "cudaDeviceGetByPCIBusId",
    "cudaChooseDevice",
    "cudaSetValidDevices",
    "cudaSetDeviceFlags",
    "cudaDeviceReset",
    "cudaDriverGetVersion",
    "cudaRuntimeGetVersion",
    "cudaGetLastError",
    "cudaPeekAtLastError",
    "cudaGetErrorName",
    "cudaGetErrorString",
    "cudaThreadExchangeStreamCaptureMode",
    "cudaProfilerStop",
};

context* known(CUcontext handle) {
  auto* const wanted = reinterpret_cast<context*>(handle);
  for (auto& [device, primary] : primaries) {
    if (wanted == &primary) {
      return wanted;
    }
  }
  for (const auto& each : created) {
    if (wanted == each.get()) {
      return wanted;
    }
  }
  return nullptr;
}

context& alive(CUcontext handle) {
  context* const found = known(handle);
  require(found != nullptr, cudaErrorDeviceUninitialized);
  require(found->is_active, cudaErrorContextIsDestroyed);
  return *found;
}

CUcontext handle_of(context* from) {
  return reinterpret_cast<CUcontext>(from);
}

void follow_top() {
  current_device = contexts.top() == nullptr ? 0 : contexts.top()->device;
}

// These answer while the device is lost too: they touch no memory of it.
template <class F>
CUresult context_call(const char* name, F body) {
  runtime& r = runtime::get();
  const std::lock_guard guard(r.lock);
  ++r.counts.context_calls[name];
  cudaError_t error = static_cast<cudaError_t>(r.faults.next_named(name).error);
  if (error == cudaSuccess) {
    error = missing_device(r);
  }
  return static_cast<CUresult>(error == cudaSuccess ? run_body(r, body) : error);
}

CUresult retain_primary(CUcontext* out, CUdevice device) {
  return static_cast<CUresult>(call("cuDevicePrimaryCtxRetain", [&](runtime& r) {
    static_cast<void>(device_at(r, device));
    context& primary = primary_context(r, device);
    ++primary.retains;
    target(out) = handle_of(&primary);
  }));
}

CUresult release_primary(CUdevice device) {
  return context_call("cuDevicePrimaryCtxRelease", [&](runtime& r) {
    static_cast<void>(device_at(r, device));
    require(primaries[device].retains != 0, cudaErrorDeviceUninitialized);
    --primaries[device].retains;
  });
}

CUresult primary_state(CUdevice device, unsigned* flags, int* active) {
  return context_call("cuDevicePrimaryCtxGetState", [&](runtime& r) {
    target(flags) = device_at(r, device).flags;
    target(active) = primaries[device].is_active ? 1 : 0;
  });
}

CUresult push_context(CUcontext handle) {
  return context_call("cuCtxPushCurrent", [&](runtime&) {
    context& next = alive(handle);
    require(contexts.depth != contexts.all.size(), cudaErrorInvalidValue);
    contexts.all[contexts.depth++] = &next;
    follow_top();
  });
}

CUresult pop_context(CUcontext* out) {
  return context_call("cuCtxPopCurrent", [&](runtime&) {
    require(contexts.top() != nullptr, cudaErrorDeviceUninitialized);
    if (out != nullptr) {
      *out = handle_of(contexts.top());
    }
    --contexts.depth;
    follow_top();
  });
}

CUresult get_current(CUcontext* out) {
  return context_call("cuCtxGetCurrent",
                      [&](runtime&) { target(out) = handle_of(contexts.top()); });
}

CUresult set_current(CUcontext handle) {
  return context_call("cuCtxSetCurrent", [&](runtime&) {
    if (handle == nullptr) {
      contexts.depth -= contexts.depth == 0 ? 0 : 1;
    } else {
      contexts.set_top(&alive(handle));
    }
    follow_top();
  });
}

CUresult device_of_current(CUdevice* out) {
  return context_call("cuCtxGetDevice", [&](runtime&) {
    require(contexts.top() != nullptr, cudaErrorDeviceUninitialized);
    target(out) = contexts.top()->device;
  });
}

CUresult id_of_context(CUcontext handle, unsigned long long* out) {
  return context_call("cuCtxGetId", [&](runtime&) {
    require(handle != nullptr || contexts.top() != nullptr, cudaErrorDeviceUninitialized);
    target(out) = (handle == nullptr ? *contexts.top() : alive(handle)).id;
  });
}

CUresult create_context(CUcontext* out, unsigned, CUdevice device) {
  return context_call("cuCtxCreate", [&](runtime& r) {
    static_cast<void>(device_at(r, device));
    require(contexts.depth != contexts.all.size(), cudaErrorInvalidValue);
    created.push_back(std::make_unique<context>(context{device, false, true, ++latest_id, 0}));
    contexts.all[contexts.depth++] = created.back().get();
    target(out) = handle_of(created.back().get());
    follow_top();
  });
}

CUresult destroy_context(CUcontext handle) {
  return context_call("cuCtxDestroy", [&](runtime&) {
    context& ended = alive(handle);
    require(!ended.is_primary, cudaErrorDeviceUninitialized);
    ended.is_active = false;
    if (contexts.top() == &ended) {
      --contexts.depth;
      follow_top();
    }
  });
}

// Streams are of primary contexts here.
CUresult context_of_stream(CUstream stream, CUcontext* out) {
  return static_cast<CUresult>(call("cuStreamGetCtx", [&](runtime& r) {
    target(out) = handle_of(&primary_context(r, r.identify(stream).device));
  }));
}

struct named_function {
  std::string_view name;
  void* function;
};
template <class F>
void* erased(F* function) {
  return reinterpret_cast<void*>(function);
}

}  // namespace

context& primary_context(runtime&, int device) {
  context& primary = primaries[device];
  if (!primary.is_active) {
    primary = {device, true, true, ++latest_id, primary.retains};
  }
  return primary;
}

void use_primary_context(runtime& r, int device) {
  contexts.set_top(&primary_context(r, device));
  current_device = device;
}

void open_context_for(runtime& r, const char* call) {
  const std::string_view name(call);
  const bool is_of_runtime =
      name.substr(0, 4) == "cuda" && name.substr(0, 23) != "cudaGetDriverEntryPoint";
  for (const std::string_view other : without_context) {
    if (!is_of_runtime || name == other) {
      return;
    }
  }
  if (contexts.top() == nullptr) {
    use_primary_context(r, current_device);
  } else if (contexts.top()->is_primary) {
    primary_context(r, current_device);
  }
}

void end_primary_context(int device) {
  primaries[device].is_active = false;
}

unsigned contexts_on(int device) {
  unsigned n = primaries[device].is_active ? 1 : 0;
  for (const auto& each : created) {
    n += each->is_active && each->device == device ? 1U : 0U;
  }
  return n;
}

void* context_entry(const char* name) {
  static const std::array<named_function, 12> all{{
      {"cuDevicePrimaryCtxRetain", erased(retain_primary)},
      {"cuDevicePrimaryCtxRelease", erased(release_primary)},
      {"cuDevicePrimaryCtxGetState", erased(primary_state)},
      {"cuCtxPushCurrent", erased(push_context)},
      {"cuCtxPopCurrent", erased(pop_context)},
      {"cuCtxGetCurrent", erased(get_current)},
      {"cuCtxSetCurrent", erased(set_current)},
      {"cuCtxGetDevice", erased(device_of_current)},
      {"cuCtxGetId", erased(id_of_context)},
      {"cuCtxCreate", erased(create_context)},
      {"cuCtxDestroy", erased(destroy_context)},
      {"cuStreamGetCtx", erased(context_of_stream)},
  }};
  for (const named_function& each : all) {
    if (each.name == name) {
      return each.function;
    }
  }
  return nullptr;
}

}  // namespace cudasim
