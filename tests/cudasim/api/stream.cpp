// SPDX-License-Identifier: Apache-2.0
//
// Streams, host functions and the state of captures.
#include "api/call.hpp"

#include <utility>

using namespace cudasim;

namespace {

cudaStream_t handle_of(stream& of) {
  return reinterpret_cast<cudaStream_t>(&of);
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

// The legacy stream may not be captured, and nobody may wait for what is.
stream& capturable(runtime& r, cudaStream_t handle) {
  stream& of = r.stream_of(handle);
  require(!of.legacy, cudaErrorStreamCaptureUnsupported);
  return of;
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
    r.destroy_stream(r.stream_of(handle));
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return call(__func__, [&](runtime& r) { r.synchronize(r.stream_of(handle)); });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call(__func__, [&](runtime& r) {
    const stream& of = r.stream_of(handle);
    require(!of.is_capturing(), cudaErrorStreamCaptureUnsupported);
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
    target(id) = static_cast<unsigned long long>(r.stream_of(handle).index);
  });
}

cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* ordinal) {
  return call(__func__, [&](runtime& r) { target(ordinal) = r.stream_of(handle).device; });
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
    if (until.captured.into != nullptr && flags != cudaEventWaitExternal) {
      if (!of.is_capturing()) {  // the event carries the capture into this stream
        require(!of.legacy, cudaErrorStreamCaptureImplicit);
        of.capturing = until.captured;
        of.capturing.last.clear();
      }
      require(of.capturing.into == until.captured.into, cudaErrorStreamCaptureIsolation);
      for (graph_node* node : until.captured.last) {
        of.capturing.last.push_back(node);
      }
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
    stream& of = capturable(r, handle);
    require(!of.is_capturing(), cudaErrorIllegalState);
    auto made = std::make_unique<graph>();
    made->created_by = r.call_name;
    of.capturing = {made.get(), &of, {}, mode};
    r.graphs.emplace(made.get(), std::move(made));
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* out) {
  return call(__func__, [&](runtime& r) {
    stream& of = r.stream_of(handle);
    require(of.is_capturing(), cudaErrorIllegalState);
    require(of.capturing.origin == &of, cudaErrorStreamCaptureUnmatched);
    target(out) = reinterpret_cast<cudaGraph_t>(of.capturing.into);
    for (const auto& other : r.streams) {
      if (other->capturing.origin == &of) {
        other->capturing = {};
      }
    }
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return call(__func__, [&](runtime& r) {
    target(status) = r.stream_of(handle).is_capturing() ? cudaStreamCaptureStatusActive
                                                        : cudaStreamCaptureStatusNone;
  });
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* into,
                                     const cudaGraphNode_t** last, const cudaGraphEdgeData** edges,
                                     std::size_t* count) {
  return call(__func__, [&](runtime& r) {
    const stream& of = r.stream_of(handle);
    const capture& now = of.capturing;
    target(status) =
        of.is_capturing() ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    if (id != nullptr) {
      *id = reinterpret_cast<unsigned long long>(now.into);
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
    static thread_local cudaStreamCaptureMode current = cudaStreamCaptureModeGlobal;
    std::swap(target(mode), current);
  });
}

}  // extern "C"
