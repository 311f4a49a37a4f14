// SPDX-License-Identifier: Apache-2.0
//
// Events. Elapsed times are of the simulator's own clock and say nothing about a GPU.
#include "api/call.hpp"

using namespace cudasim;

namespace {

void create(runtime& r, cudaEvent_t* out, unsigned flags) {
  constexpr unsigned known = cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess;
  require((flags & ~known) == 0, cudaErrorInvalidValue);
  const bool is_shared = (flags & cudaEventInterprocess) != 0;
  require(!is_shared || (flags & cudaEventDisableTiming) != 0, cudaErrorInvalidValue);
  require(!is_shared || !r.set.lacks("ipc"), cudaErrorNotSupported);
  event counted;
  if (is_shared) {
    r.count_records(counted);
  }
  cudaEvent_t& handle = target(out);
  event& made = r.make_event();
  made.flags = flags;
  made.shared = std::move(counted.shared);
  handle = reinterpret_cast<cudaEvent_t>(&made);
}

void record(runtime& r, cudaEvent_t handle, cudaStream_t in) {
  event& made = r.event_of(handle);
  stream& of = r.stream_of(in);
  require(of.device == made.device, cudaErrorInvalidResourceHandle);
  if (of.is_capturing()) {
    require(!of.capturing.into->spoilt, cudaErrorStreamCaptureInvalidated);
    made.captured = of.capturing;
    made.recorded = nullptr;
    return;
  }
  made.captured = {};
  r.record(made, of);
}

}  // namespace

extern "C" {

cudaError_t cudaEventCreate(cudaEvent_t* out) {
  return call(__func__, [&](runtime& r) { create(r, out, cudaEventDefault); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned flags) {
  return call(__func__, [&](runtime& r) { create(r, out, flags); });
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  return call(__func__, [&](runtime& r) { r.forget_event(r.event_of(handle)); });
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t in) {
  return call(__func__, [&](runtime& r) { record(r, handle, in); });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t in, unsigned flags) {
  return call(__func__, [&](runtime& r) {
    require(flags == cudaEventRecordDefault || flags == cudaEventRecordExternal,
            cudaErrorInvalidValue);
    record(r, handle, in);
  });
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return call(__func__, [&](runtime& r) {
    const event& asked = r.event_of(handle);
    require(asked.captured.into == nullptr, cudaErrorCapturedEvent);
    r.require_safe_in_capture();
    const record_point latest = r.latest_record(asked);
    r.poll();
    if (!latest.is_done()) {
      return cudaErrorNotReady;
    }
    r.wait(latest);
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return call(__func__, [&](runtime& r) {
    const event& until = r.event_of(handle);
    require(until.captured.into == nullptr, cudaErrorCapturedEvent);
    r.wait(r.latest_record(until));
    r.trim_pools_after_wait();
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return call(__func__, [&](runtime& r) {
    const event& first = r.event_of(begin);
    const event& second = r.event_of(end);
    require(first.device == second.device && first.recorded != nullptr &&
                second.recorded != nullptr &&
                ((first.flags | second.flags) & cudaEventDisableTiming) == 0,
            cudaErrorInvalidResourceHandle);
    if (!first.recorded->done || !second.recorded->done) {
      return cudaErrorNotReady;
    }
    constexpr double milliseconds_per_second = 1e3;
    target(milliseconds) = static_cast<float>((second.recorded->time - first.recorded->time) *
                                              milliseconds_per_second);
    return cudaSuccess;
  });
}

}  // extern "C"
