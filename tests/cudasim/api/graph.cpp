// SPDX-License-Identifier: Apache-2.0
//
// Graphs, as far as allocation in graphs needs them: nodes by hand and by capture, instantiation,
// launch, graphs as nodes of others. Conditional nodes and parameters of nodes are not there.
#include "api/call.hpp"

#include <algorithm>
#include <utility>

using namespace cudasim;

namespace {

graph& graph_of(runtime& r, cudaGraph_t handle) {
  const auto found = r.graphs.find(reinterpret_cast<const graph*>(handle));
  require(found != r.graphs.end(), cudaErrorInvalidValue);
  return *found->second;
}
graph& executable_of(runtime& r, cudaGraphExec_t handle) {
  const auto found = r.executable_graphs.find(reinterpret_cast<const graph*>(handle));
  require(found != r.executable_graphs.end(), cudaErrorInvalidValue);
  return *found->second;
}

std::vector<graph_node*> nodes_of(const cudaGraphNode_t* handles, std::size_t count) {
  std::vector<graph_node*> made;
  for (std::size_t i = 0; i != count; ++i) {
    made.push_back(reinterpret_cast<graph_node*>(handles[i]));
  }
  return made;
}

void give_handle(cudaGraphNode_t* out, graph_node& of) {
  target(out) = reinterpret_cast<cudaGraphNode_t>(&of);
}

// Makes a node of what `act` does to a stream, by capturing it.
template <class F>
void add_captured(cudaGraphNode_t* out, graph& to, std::vector<graph_node*> after, F act) {
  stream recorder;
  recorder.device = current_device;
  recorder.capturing = {&to, &recorder, std::move(after), cudaStreamCaptureModeGlobal};
  const std::size_t before = to.nodes.size();
  act(recorder);
  require(to.nodes.size() > before, cudaErrorInvalidValue);
  give_handle(out, *to.nodes.back());
}

std::function<void(stream&)> issue_all(runtime& r, const node_list& nodes) {
  return [&r, nodes](stream& in) { r.launch_graph(nodes, in); };
}

void instantiate(runtime& r, cudaGraphExec_t* out, cudaGraph_t handle, unsigned long long flags) {
  const graph& from = graph_of(r, handle);
  constexpr unsigned long long known = cudaGraphInstantiateFlagAutoFreeOnLaunch |
                                       cudaGraphInstantiateFlagUpload |
                                       cudaGraphInstantiateFlagUseNodePriority;
  require((flags & cudaGraphInstantiateFlagDeviceLaunch) == 0, cudaErrorNotSupported);
  require((flags & ~known) == 0, cudaErrorInvalidValue);
  auto made = std::make_unique<graph>();
  made->created_by = r.call_name;
  made->nodes = in_order(from);
  made->memory = from.memory;
  made->frees_first = (flags & cudaGraphInstantiateFlagAutoFreeOnLaunch) != 0;
  require(made->nodes.size() == from.nodes.size(), cudaErrorInvalidValue);
  target(out) = reinterpret_cast<cudaGraphExec_t>(made.get());
  r.executable_graphs.emplace(made.get(), std::move(made));
}

void free_what_is_left(runtime& r, const graph& of, stream& in) {
  for (const auto& node : of.nodes) {
    if (node->type == cudaGraphNodeTypeMemAlloc && r.memory.issued(node->address) != nullptr) {
      r.free_in(in, reinterpret_cast<void*>(node->address));
    }
  }
}

const graph_node& memory_node(cudaGraphNode_t handle, cudaGraphNodeType type) {
  const auto* const node = reinterpret_cast<const graph_node*>(handle);
  require(node != nullptr && node->type == type, cudaErrorInvalidValue);
  return *node;
}

// The devices that a node's own list names.
device_set granted_by(runtime& r, const cudaMemAllocNodeParams& p) {
  require(p.accessDescs != nullptr || p.accessDescCount == 0, cudaErrorInvalidValue);
  device_set granted{p.poolProps.location.id};
  for (std::size_t i = 0; i != p.accessDescCount; ++i) {
    const cudaMemAccessDesc& each = p.accessDescs[i];
    require(each.location.type == cudaMemLocationTypeDevice &&
                each.flags == cudaMemAccessFlagsProtReadWrite,
            cudaErrorInvalidValue);
    static_cast<void>(device_at(r, each.location.id));
    require(each.location.id == p.poolProps.location.id || !r.set.lacks("peers"),
            cudaErrorInvalidDevice);
    granted.insert(each.location.id);
  }
  return granted;
}

// What a node allocates is accessible by its own list, not by that of the device's pool.
class scoped_access {
 public:
  scoped_access(pool& of, device_set granted)
      : of_(of), usual_(std::exchange(*of.accessible_by, std::move(granted))) {}
  ~scoped_access() { *of_.accessible_by = std::move(usual_); }
  scoped_access(const scoped_access&) = delete;
  scoped_access& operator=(const scoped_access&) = delete;

 private:
  pool& of_;
  device_set usual_;
};

}  // namespace

extern "C" {

cudaError_t cudaGraphCreate(cudaGraph_t* out, unsigned flags) {
  return call(__func__, [&](runtime& r) {
    require(flags == 0, cudaErrorInvalidValue);
    auto made = std::make_unique<graph>();
    made->created_by = r.call_name;
    target(out) = reinterpret_cast<cudaGraph_t>(made.get());
    r.graphs.emplace(made.get(), std::move(made));
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
  return call(__func__, [&](runtime& r) { r.graphs.erase(&graph_of(r, handle)); });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t handle,
                                 unsigned long long flags) {
  return call(__func__, [&](runtime& r) { instantiate(r, out, handle, flags); });
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* out, cudaGraph_t handle,
                                          unsigned long long flags) {
  return call(__func__, [&](runtime& r) { instantiate(r, out, handle, flags); });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  return call(__func__, [&](runtime& r) { r.executable_graphs.erase(&executable_of(r, handle)); });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    const graph& of = executable_of(r, handle);
    stream& order = r.stream_of(in);
    if (!order.is_capturing()) {
      if (of.frees_first) {
        free_what_is_left(r, of, order);
      }
      r.launch_graph(of.nodes, order);
      return;
    }
    require(!has_memory_nodes(of.nodes), cudaErrorNotSupported);
    r.capture_node(order, "graph", cudaGraphNodeTypeGraph, issue_all(r, of.nodes));
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t handle, cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(executable_of(r, handle));
    static_cast<void>(r.stream_of(in));
  });
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t handle, cudaGraph_t from,
                                cudaGraphExecUpdateResultInfo* info) {
  return call(__func__, [&](runtime& r) {
    graph& of = executable_of(r, handle);
    node_list nodes = in_order(graph_of(r, from));
    const bool same =
        std::equal(nodes.begin(), nodes.end(), of.nodes.begin(), of.nodes.end(),
                   [](const auto& a, const auto& b) {
                     const bool is_memory = a->type == cudaGraphNodeTypeMemAlloc ||
                                            a->type == cudaGraphNodeTypeMemFree;
                     return a->type == b->type && (!is_memory || a->address == b->address);
                   });
    target(info) = {};
    info->result = same ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateErrorTopologyChanged;
    require(same, cudaErrorGraphExecUpdateFailure);
    of.nodes = std::move(nodes);
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t* nodes, std::size_t* count) {
  return call(__func__, [&](runtime& r) {
    const graph& of = graph_of(r, handle);
    if (nodes != nullptr) {
      for (std::size_t i = 0; i != std::min(target(count), of.nodes.size()); ++i) {
        nodes[i] = reinterpret_cast<cudaGraphNode_t>(of.nodes[i].get());
      }
    }
    target(count) = of.nodes.size();
  });
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  return call(__func__, [&](runtime&) {
    require(node != nullptr, cudaErrorInvalidValue);
    target(type) = reinterpret_cast<const graph_node*>(node)->type;
  });
}

cudaError_t cudaGraphAddDependencies(cudaGraph_t handle, const cudaGraphNode_t* from,
                                     const cudaGraphNode_t* to, const cudaGraphEdgeData*,
                                     std::size_t count) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(graph_of(r, handle));
    for (std::size_t i = 0; i != count; ++i) {
      reinterpret_cast<graph_node*>(to[i])->after.push_back(reinterpret_cast<graph_node*>(from[i]));
    }
  });
}

cudaError_t cudaGraphAddEmptyNode(cudaGraphNode_t* out, cudaGraph_t to,
                                  const cudaGraphNode_t* after, std::size_t count) {
  return call(__func__, [&](runtime& r) {
    give_handle(out, r.add_node(graph_of(r, to), "empty", cudaGraphNodeTypeEmpty, {},
                                nodes_of(after, count)));
  });
}

cudaError_t cudaGraphAddChildGraphNode(cudaGraphNode_t* out, cudaGraph_t to,
                                       const cudaGraphNode_t* after, std::size_t count,
                                       cudaGraph_t child) {
  return call(__func__, [&](runtime& r) {
    const graph& from = graph_of(r, child);
    const node_list nodes = in_order(from);
    require(nodes.size() == from.nodes.size() && !has_memory_nodes(nodes), cudaErrorInvalidValue);
    give_handle(out, r.add_node(graph_of(r, to), "graph", cudaGraphNodeTypeGraph,
                                issue_all(r, nodes), nodes_of(after, count)));
  });
}

cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* out, cudaGraph_t to,
                                   const cudaGraphNode_t* after, std::size_t count,
                                   const cudaKernelNodeParams* wanted) {
  return call(__func__, [&](runtime& r) {
    const cudaKernelNodeParams& p = target(wanted);
    add_captured(out, graph_of(r, to), nodes_of(after, count), [&](stream& in) {
      r.start(in, {&r.function_of(p.func), p.gridDim, p.blockDim, p.kernelParams, p.sharedMemBytes,
                   false});
    });
  });
}

cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* out, cudaGraph_t to,
                                     const cudaGraphNode_t* after, std::size_t count, void* dst,
                                     const void* src, std::size_t n, cudaMemcpyKind kind) {
  return call(__func__, [&](runtime& r) {
    r.check_direction(dst, src, kind);
    add_captured(out, graph_of(r, to), nodes_of(after, count),
                 [&](stream& in) { r.copy(dst, src, n, in, false); });
  });
}

cudaError_t cudaGraphAddMemsetNode(cudaGraphNode_t* out, cudaGraph_t to,
                                   const cudaGraphNode_t* after, std::size_t count,
                                   const cudaMemsetParams* wanted) {
  return call(__func__, [&](runtime& r) {
    const cudaMemsetParams& p = target(wanted);
    add_captured(out, graph_of(r, to), nodes_of(after, count), [&](stream& in) {
      r.fill(
          {static_cast<char*>(p.dst), p.height == 1 ? p.width * p.elementSize : p.pitch, p.height},
          static_cast<int>(p.value), p.elementSize, {p.width * p.elementSize, p.height, 1}, in);
    });
  });
}

cudaError_t cudaGraphAddHostNode(cudaGraphNode_t* out, cudaGraph_t to, const cudaGraphNode_t* after,
                                 std::size_t count, const cudaHostNodeParams* wanted) {
  return call(__func__, [&](runtime& r) {
    const cudaHostNodeParams p = target(wanted);
    const auto issue = [&r, p](stream& in) {
      r.enqueue(
          in, "host function", [p](operation&) { p.fn(p.userData); }, {}, true);
    };
    give_handle(out, r.add_node(graph_of(r, to), "host function", cudaGraphNodeTypeHost, issue,
                                nodes_of(after, count)));
  });
}

cudaError_t cudaGraphAddMemAllocNode(cudaGraphNode_t* out, cudaGraph_t to,
                                     const cudaGraphNode_t* after, std::size_t count,
                                     cudaMemAllocNodeParams* wanted) {
  return call(__func__, [&](runtime& r) {
    cudaMemAllocNodeParams& p = target(wanted);
    require(p.poolProps.allocType == cudaMemAllocationTypePinned &&
                p.poolProps.location.type == cudaMemLocationTypeDevice,
            cudaErrorInvalidValue);
    pool& from = *device_at(r, p.poolProps.location.id).current_pool;
    const scoped_access own(from, granted_by(r, p));
    add_captured(out, graph_of(r, to), nodes_of(after, count),
                 [&](stream& in) { p.dptr = r.allocate_from(from, in, p.bytesize); });
  });
}

cudaError_t cudaGraphAddMemFreeNode(cudaGraphNode_t* out, cudaGraph_t to,
                                    const cudaGraphNode_t* after, std::size_t count,
                                    void* address) {
  return call(__func__, [&](runtime& r) {
    add_captured(out, graph_of(r, to), nodes_of(after, count),
                 [&](stream& in) { r.free_in(in, address); });
  });
}

cudaError_t cudaGraphMemAllocNodeGetParams(cudaGraphNode_t node, cudaMemAllocNodeParams* out) {
  return call(__func__, [&](runtime&) {
    const graph_node& of = memory_node(node, cudaGraphNodeTypeMemAlloc);
    cudaMemAllocNodeParams& p = target(out);
    p = {};
    p.poolProps.allocType = cudaMemAllocationTypePinned;
    p.poolProps.location = {cudaMemLocationTypeDevice, of.device};
    p.bytesize = of.bytes;
    p.dptr = reinterpret_cast<void*>(of.address);
  });
}

cudaError_t cudaGraphMemFreeNodeGetParams(cudaGraphNode_t node, void* out) {
  return call(__func__, [&](runtime&) {
    const graph_node& of = memory_node(node, cudaGraphNodeTypeMemFree);
    target(static_cast<void**>(out)) = reinterpret_cast<void*>(of.address);
  });
}

cudaError_t cudaDeviceGraphMemTrim(int ordinal) {
  return call(__func__, [&](runtime& r) { device_at(r, ordinal).graph_pool->trim(0); });
}

cudaError_t cudaDeviceGetGraphMemAttribute(int ordinal, cudaGraphMemAttributeType which,
                                           void* value) {
  return call(__func__, [&](runtime& r) {
    const pool& of = *device_at(r, ordinal).graph_pool;
    auto& out = target(static_cast<std::uint64_t*>(value));
    switch (which) {
    case cudaGraphMemAttrUsedMemCurrent:
      out = of.used;
      return;
    case cudaGraphMemAttrUsedMemHigh:
      out = of.used_high;
      return;
    case cudaGraphMemAttrReservedMemCurrent:
      out = of.reserved;
      return;
    case cudaGraphMemAttrReservedMemHigh:
      out = of.reserved_high;
      return;
    default:
      refuse(cudaErrorInvalidValue);
    }
  });
}

cudaError_t cudaDeviceSetGraphMemAttribute(int ordinal, cudaGraphMemAttributeType which,
                                           void* value) {
  return call(__func__, [&](runtime& r) {
    pool& of = *device_at(r, ordinal).graph_pool;
    require(target(static_cast<std::uint64_t*>(value)) == 0, cudaErrorInvalidValue);
    switch (which) {
    case cudaGraphMemAttrUsedMemHigh:
      of.used_high = of.used;
      return;
    case cudaGraphMemAttrReservedMemHigh:
      of.reserved_high = of.reserved;
      return;
    default:
      refuse(cudaErrorInvalidValue);
    }
  });
}

}  // extern "C"
