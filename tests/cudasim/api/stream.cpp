// SPDX-License-Identifier: Apache-2.0
//
// Streams, host functions and the state of captures.
#include "api/call.hpp"

#include <utility>

using namespace cudasim;

namespace {

cudaStream_t handle_of(stream& of) {
  return static_cast<cudaStream_t>(of.handle);
}

void create(runtime& r, cudaStream_t* out, unsigned flags, int priority) {
  require((flags & ~static_cast<unsigned>(cudaStreamNonBlocking)) == 0, cudaErrorInvalidValue);
  require(out != nullptr, cudaErrorInvalidValue);
  stream& made = r.make_stream(current_device, flags, priority);
  made.created_by = r.call_name;
  *out = handle_of(made);
}

void enqueue_host_function(runtime& r, stream& in, std::function<void(operation&)> run) {
  if (in.is_capturing()) {
    r.capture_node(in, "host function", cudaGraphNodeTypeHost,
                   [&r, run](stream& order) { r.enqueue(order, "host function", run, {}, true); });
    return;
  }
  r.enqueue(in, "host function", std::move(run), {}, true);
}

// A stream that is asked whether it captures: that spoils nothing.
const stream& asked(runtime& r, cudaStream_t handle) {
  const stream& of = r.find_stream(handle);
  r.require_no_implicit_wait(of, false);
  return of;
}

cudaStreamCaptureStatus status_of(const stream& of) {
  return !of.is_capturing()          ? cudaStreamCaptureStatusNone
         : of.capturing.into->spoilt ? cudaStreamCaptureStatusInvalidated
                                     : cudaStreamCaptureStatusActive;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* out) {
  return call(__func__, [&](runtime& r) { create(r, out, cudaStreamDefault, 0); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags) {
  return call(__func__, [&](runtime& r) { create(r, out, flags, 0); });
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* out, unsigned flags, int priority) {
  return call(__func__,
              [&](runtime& r) { create(r, out, flags, std::min(0, std::max(-5, priority))); });
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return call(__func__, [&](runtime& r) {
    require(handle != nullptr && handle != cudaStreamLegacy && handle != cudaStreamPerThread,
            cudaErrorInvalidResourceHandle);
    stream& gone = r.stream_of(handle);
    if (!r.leave_joined_capture(gone)) {
      r.require_not_captured(gone);
    }
    r.destroy_stream(gone);
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return call(__func__, [&](runtime& r) { r.synchronize(r.stream_of(handle)); });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call(__func__, [&](runtime& r) {
    const stream& of = r.stream_of(handle);
    r.require_not_captured(of);
    r.require_safe_in_capture();
    r.poll();
    if (of.last != nullptr && !of.last->done) {
      return cudaErrorNotReady;
    }
    if (of.last != nullptr) {
      r.observe(*of.last);
    }
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
  return call(__func__, [&](runtime& r) { target(flags) = r.stream_of(handle).flags; });
}

cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return call(__func__, [&](runtime& r) { target(priority) = r.stream_of(handle).priority; });
}

cudaError_t cudaStreamGetId(cudaStream_t handle, unsigned long long* id) {
  return call(__func__, [&](runtime& r) {
    target(id) = static_cast<unsigned long long>(r.identify(handle).index);
  });
}

cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* ordinal) {
  return call(__func__, [&](runtime& r) { target(ordinal) = r.identify(handle).device; });
}

cudaError_t cudaStreamCopyAttributes(cudaStream_t to, cudaStream_t from) {
  return call(__func__, [&](runtime& r) { r.stream_of(to).priority = r.stream_of(from).priority; });
}

cudaError_t cudaStreamAttachMemAsync(cudaStream_t handle, void* address, std::size_t, unsigned) {
  return call(__func__, [&](runtime& r) {
    const allocation_ptr found = r.memory.issued(address);
    require(found != nullptr && found->kind != memory_kind::device, cudaErrorInvalidValue);
    static_cast<void>(r.stream_of(handle));
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t waited, unsigned flags) {
  return call(__func__, [&](runtime& r) {
    stream& of = r.stream_of(handle);
    const event& until = r.event_of(waited);
    require(flags == cudaEventWaitDefault || flags == cudaEventWaitExternal, cudaErrorInvalidValue);
    if (until.captured.into != nullptr && flags != cudaEventWaitExternal) {
      r.capture_wait(of, until);
      return;
    }
    require(!of.is_capturing(), cudaErrorStreamCaptureIsolation);
    r.wait_in(of, r.latest_record(until));
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return call(__func__, [&](runtime& r) {
    require(function != nullptr, cudaErrorInvalidValue);
    enqueue_host_function(r, r.stream_of(handle), [=](operation&) { function(data); });
  });
}

cudaError_t cudaStreamAddCallback(cudaStream_t handle, cudaStreamCallback_t function, void* data,
                                  unsigned flags) {
  return call(__func__, [&](runtime& r) {
    require(function != nullptr && flags == 0, cudaErrorInvalidValue);
    stream& of = r.stream_of(handle);
    require(!of.is_capturing(), cudaErrorStreamCaptureUnsupported);
    enqueue_host_function(r, of, [=](operation&) { function(handle, cudaSuccess, data); });
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return call(__func__, [&](runtime& r) {
    stream& of = r.stream_of(handle);
    auto made = std::make_unique<graph>();
    made->created_by = r.call_name;
    capture wanted;
    wanted.into = made.get();
    wanted.mode = mode;
    r.begin_capture(of, wanted);
    r.graphs.emplace(made.get(), std::move(made));
  });
}

cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t handle, cudaGraph_t into,
                                          const cudaGraphNode_t* after, const cudaGraphEdgeData*,
                                          std::size_t count, cudaStreamCaptureMode mode) {
  return call(__func__, [&](runtime& r) {
    stream& of = r.stream_of(handle);
    const auto found = r.graphs.find(reinterpret_cast<const graph*>(into));
    require(found != r.graphs.end() && (count == 0 || after != nullptr), cudaErrorInvalidValue);
    capture wanted;
    wanted.into = found->second.get();
    wanted.mode = mode;
    wanted.owns_graph = false;
    for (std::size_t i = 0; i != count; ++i) {
      wanted.last.push_back(reinterpret_cast<graph_node*>(after[i]));
    }
    r.begin_capture(of, wanted);
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* out) {
  return call(__func__, [&](runtime& r) {
    target(out) = nullptr;
    *out = reinterpret_cast<cudaGraph_t>(r.end_capture(r.stream_of(handle)));
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return call(__func__, [&](runtime& r) { target(status) = status_of(asked(r, handle)); });
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* into,
                                     const cudaGraphNode_t** last, const cudaGraphEdgeData** edges,
                                     std::size_t* count) {
  return call(__func__, [&](runtime& r) {
    const stream& of = asked(r, handle);
    const capture& now = of.capturing;
    target(status) = status_of(of);
    if (id != nullptr) {
      *id = now.id;
    }
    if (into != nullptr) {
      *into = reinterpret_cast<cudaGraph_t>(now.into);
    }
    if (last != nullptr) {
      *last = reinterpret_cast<const cudaGraphNode_t*>(now.last.data());
    }
    if (edges != nullptr) {
      *edges = nullptr;
    }
    if (count != nullptr) {
      *count = now.last.size();
    }
  });
}

cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t handle, cudaGraphNode_t* nodes,
                                                const cudaGraphEdgeData*, std::size_t count,
                                                unsigned flags) {
  return call(__func__, [&](runtime& r) {
    stream& of = r.stream_of(handle);
    require(of.is_capturing(), cudaErrorIllegalState);
    if (flags == cudaStreamSetCaptureDependencies) {
      of.capturing.last.clear();
    }
    for (std::size_t i = 0; i != count; ++i) {
      of.capturing.last.push_back(reinterpret_cast<graph_node*>(nodes[i]));
    }
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return call(__func__, [&](runtime&) {
    require(target(mode) == cudaStreamCaptureModeGlobal ||
                *mode == cudaStreamCaptureModeThreadLocal || *mode == cudaStreamCaptureModeRelaxed,
            cudaErrorInvalidValue);
    std::swap(*mode, capture_mode);
  });
}

}  // extern "C"
