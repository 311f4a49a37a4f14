// SPDX-License-Identifier: Apache-2.0
//
// Captures: what begins and ends them, and what must not happen while they last. A call that must
// not spoils the captures that it conflicts with: they end without a graph.
#include "runtime/runtime.hpp"

#include <algorithm>
#include <atomic>
#include <set>

namespace cudasim {
namespace {

bool is_spoilt(const capture& now) {
  return now.into != nullptr && now.into->spoilt;
}

// Nodes that come before the end of a capture, by its own stream.
std::set<const graph_node*> nodes_before(const std::vector<graph_node*>& last) {
  std::vector<const graph_node*> left(last.begin(), last.end());
  std::set<const graph_node*> found;
  while (!left.empty()) {
    const graph_node* const next = left.back();
    left.pop_back();
    if (found.insert(next).second) {
      left.insert(left.end(), next->after.begin(), next->after.end());
    }
  }
  return found;
}

}  // namespace

std::uint64_t thread_number() {
  static std::atomic<std::uint64_t> latest{0};
  static thread_local const std::uint64_t own = ++latest;
  return own;
}

void runtime::begin_capture(stream& of, capture wanted) {
  require(wanted.mode == cudaStreamCaptureModeGlobal ||
              wanted.mode == cudaStreamCaptureModeThreadLocal ||
              wanted.mode == cudaStreamCaptureModeRelaxed,
          cudaErrorInvalidValue);
  require(!of.legacy, cudaErrorStreamCaptureUnsupported);
  require(!of.is_capturing(), cudaErrorIllegalState);
  wanted.origin = &of;
  wanted.thread = thread_number();
  wanted.id = ++latest_capture_;
  of.capturing = std::move(wanted);
  ++captures_;
}

// All that takes part ends, also where the graph is refused.
graph* runtime::end_capture(stream& of) {
  const capture ended = of.capturing;
  require(of.is_capturing(), cudaErrorIllegalState);
  require(ended.origin == &of, cudaErrorStreamCaptureUnmatched);
  require(ended.mode == cudaStreamCaptureModeRelaxed || ended.thread == thread_number(),
          cudaErrorStreamCaptureWrongThread);
  const std::set<const graph_node*> joined = nodes_before(ended.last);
  bool all_joined = true;
  for (const auto& other : streams) {
    if (other->capturing.into != ended.into) {
      continue;
    }
    for (const graph_node* node : other->capturing.last) {
      all_joined &= joined.count(node) != 0;
    }
    other->capturing = {};
  }
  for (event* const each : events) {
    each->captured.ended |= each->captured.id == ended.id;
  }
  --captures_;
  const bool is_good = all_joined && !is_spoilt(ended);
  ended.into->spoilt = false;
  if (is_good) {
    return ended.into;
  }
  const cudaError_t error =
      all_joined ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnjoined;
  if (ended.owns_graph) {
    graphs.erase(ended.into);
  }
  refuse(error);
}

void runtime::require_safe_in_capture() {
  if (captures_ == 0 || capture_mode == cudaStreamCaptureModeRelaxed) {
    return;
  }
  bool conflicts = false;
  for (const auto& each : streams) {
    const capture& now = each->capturing;
    if (now.origin != each.get() || now.mode == cudaStreamCaptureModeRelaxed) {
      continue;
    }
    const bool both_global =
        now.mode == cudaStreamCaptureModeGlobal && capture_mode == cudaStreamCaptureModeGlobal;
    if (both_global || now.thread == thread_number()) {
      conflicts |= spoil(*each);
    }
  }
  require(!conflicts, cudaErrorStreamCaptureUnsupported);
}

void runtime::require_no_capture_on(int device) {
  bool captures = false;
  for (const auto& each : streams) {
    if (each->device == device && each->is_capturing()) {
      captures |= spoil(*each);
    }
  }
  require(!captures, cudaErrorStreamCaptureUnsupported);
}

void runtime::require_not_captured(const stream& of) {
  if (of.is_capturing() && spoil(of)) {
    refuse(cudaErrorStreamCaptureUnsupported);
  }
}

const stream& runtime::identify(cudaStream_t handle) {
  const stream& of = stream_of(handle);
  if (set.identity_in_captures) {
    return of;
  }
  if (of.is_capturing() && of.capturing.mode != cudaStreamCaptureModeRelaxed) {
    require_not_captured(of);
  }
  require_safe_in_capture();
  return of;
}

bool runtime::leave_joined_capture(stream& of) {
  if (!of.is_capturing() || of.capturing.origin == &of) {
    return false;
  }
  const std::set<const graph_node*> joined = nodes_before(of.capturing.origin->capturing.last);
  for (const graph_node* const node : of.capturing.last) {
    if (joined.count(node) == 0) {
      return false;
    }
  }
  of.capturing = {};
  return true;
}

// The legacy stream would wait for streams whose work is not there.
void runtime::require_no_implicit_wait(const stream& of, bool spoils) {
  if (!of.legacy || captures_ == 0) {
    return;
  }
  for (stream* const other : devices.at(static_cast<std::size_t>(of.device)).blocking) {
    if (other->is_capturing() && (spoils ? spoil(*other) : is_in_the_way(*other))) {
      refuse(cudaErrorStreamCaptureImplicit);
    }
  }
}

graph_node& runtime::capture_node(stream& of, const std::string& name, cudaGraphNodeType type,
                                  std::function<void(stream&)> issue) {
  require(!is_spoilt(of.capturing), cudaErrorStreamCaptureInvalidated);
  report_foreign(of, "has recorded into");
  graph_node& made = add_node(*of.capturing.into, name, type, std::move(issue), of.capturing.last);
  of.capturing.last = {&made};
  return made;
}

void runtime::capture_wait(stream& of, const event& until) {
  const capture& carried = until.captured;
  require(!carried.ended, cudaErrorCapturedEvent);
  require(!is_spoilt(carried), cudaErrorStreamCaptureInvalidated);
  report_foreign(*carried.origin, "makes a stream wait for");
  if (!of.is_capturing()) {  // the event carries the capture into this stream
    require(!of.legacy, cudaErrorStreamCaptureImplicit);
    of.capturing = carried;
    of.capturing.last.clear();
  }
  require(of.capturing.into == carried.into, cudaErrorStreamCaptureIsolation);
  for (graph_node* node : carried.last) {
    of.capturing.last.push_back(node);
  }
}

}  // namespace cudasim
