// SPDX-License-Identifier: Apache-2.0
//
// Graphs, as far as allocation in graphs needs them: captured and built by hand, launched again,
// with memory nodes that keep their addresses.
#include "support.cuh"

#include <cstdint>
#include <cstdlib>

namespace {

__global__ void add(int* p, int value) {
  *p += value;
}

class executable {
 public:
  explicit executable(cudaGraph_t graph) {
    expect_success(cudaGraphInstantiate(&handle_, graph, 0), "instantiate");
  }
  executable(const executable&) = delete;
  executable& operator=(const executable&) = delete;
  ~executable() { expect_success(cudaGraphExecDestroy(handle_), "destroy"); }
  operator cudaGraphExec_t() const { return handle_; }

 private:
  cudaGraphExec_t handle_ = nullptr;
};

std::uint64_t graph_memory(cudaGraphMemAttributeType which) {
  std::uint64_t value = 0;
  expect_success(cudaDeviceGetGraphMemAttribute(0, which, &value), "attribute");
  return value;
}

TEST(Graphs, ACapturedSequenceRunsAtEachLaunch) {
  scoped_stream stream;
  buffer<int> value(1);
  value.fill(0);
  expect_synchronised();
  cudaStreamCaptureStatus status;
  expect_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin");
  expect_success(cudaStreamIsCapturing(stream, &status), "status");
  EXPECT_EQ(status, cudaStreamCaptureStatusActive);
  add<<<1, 1, 0, stream>>>(value.data(), 1);
  add<<<1, 1, 0, stream>>>(value.data(), 10);
  cudaGraph_t graph;
  expect_success(cudaStreamEndCapture(stream, &graph), "end");
  EXPECT_EQ(value.get()[0], 0) << "capturing runs nothing";
  std::size_t count = 0;
  expect_success(cudaGraphGetNodes(graph, nullptr, &count), "nodes");
  EXPECT_EQ(count, 2u);
  {
    executable launchable(graph);
    for (int i = 0; i < 3; ++i) {
      expect_success(cudaGraphLaunch(launchable, stream), "launch");
    }
    expect_success(cudaStreamSynchronize(stream), "synchronise");
  }
  EXPECT_EQ(value.get()[0], 33);
  expect_success(cudaGraphDestroy(graph), "destroy");
}

TEST(Graphs, EventsCarryACaptureToOtherStreams) {
  scoped_stream a;
  scoped_stream b;
  scoped_event forked;
  scoped_event joined;
  buffer<int> value(2);
  value.fill(0);
  expect_synchronised();
  expect_success(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal), "begin");
  cudaEventRecord(forked, a);
  cudaStreamWaitEvent(b, forked, 0);
  add<<<1, 1, 0, b>>>(value.data() + 1, 5);
  add<<<1, 1, 0, a>>>(value.data(), 4);
  cudaEventRecord(joined, b);
  cudaStreamWaitEvent(a, joined, 0);
  EXPECT_EQ(cudaEventSynchronize(joined), cudaErrorCapturedEvent);
  cudaGetLastError();
  cudaGraph_t graph;
  expect_success(cudaStreamEndCapture(a, &graph), "end");
  {
    executable launchable(graph);
    expect_success(cudaGraphLaunch(launchable, a), "launch");
    expect_success(cudaStreamSynchronize(a), "synchronise");
  }
  EXPECT_EQ(value.get(), (std::vector<int>{4, 5}));
  expect_success(cudaGraphDestroy(graph), "destroy");
}

TEST(Graphs, CapturedAllocationsKeepTheirAddress) {
  scoped_stream stream;
  int result = 0;
  int* host = nullptr;
  expect_success(cudaMallocHost(&host, sizeof *host), "pinned");
  expect_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin");
  int* p = nullptr;
  expect_success(cudaMallocAsync(&p, sizeof *p, stream), "allocate");
  expect_success(cudaMemsetAsync(p, 0, sizeof *p, stream), "fill");
  add<<<1, 1, 0, stream>>>(p, 42);
  expect_success(cudaMemcpyAsync(host, p, sizeof *p, cudaMemcpyDeviceToHost, stream), "copy");
  expect_success(cudaFreeAsync(p, stream), "free");
  cudaGraph_t graph;
  expect_success(cudaStreamEndCapture(stream, &graph), "end");
  {
    executable launchable(graph);
    for (int i = 0; i < 2; ++i) {
      *host = 0;
      expect_success(cudaGraphLaunch(launchable, stream), "launch");
      expect_success(cudaStreamSynchronize(stream), "synchronise");
      result += *host;
    }
  }
  EXPECT_EQ(result, 84);
  EXPECT_GT(graph_memory(cudaGraphMemAttrReservedMemCurrent), 0u);
  expect_success(cudaGraphDestroy(graph), "destroy");
  expect_success(cudaDeviceGraphMemTrim(0), "trim");
  EXPECT_EQ(graph_memory(cudaGraphMemAttrReservedMemCurrent), 0u);
  EXPECT_GT(graph_memory(cudaGraphMemAttrReservedMemHigh), 0u);
  expect_success(cudaFreeHost(host), "pinned");
}

// What a node allocates.
cudaMemAllocNodeParams one_int() {
  cudaMemAllocNodeParams wanted{};
  wanted.poolProps.allocType = cudaMemAllocationTypePinned;
  wanted.poolProps.location = {cudaMemLocationTypeDevice, 0};
  wanted.bytesize = sizeof(int);
  return wanted;
}

TEST(Graphs, NodesByHandFollowTheirDependencies) {
  scoped_stream stream;
  cudaGraph_t graph;
  expect_success(cudaGraphCreate(&graph, 0), "create");
  cudaMemAllocNodeParams allocation = one_int();
  cudaGraphNode_t allocated;
  expect_success(cudaGraphAddMemAllocNode(&allocated, graph, nullptr, 0, &allocation), "node");
  cudaMemsetParams fill{};
  fill.dst = allocation.dptr;
  fill.elementSize = 4;
  fill.value = 100;
  fill.width = 1;
  fill.height = 1;
  cudaGraphNode_t filled;
  expect_success(cudaGraphAddMemsetNode(&filled, graph, &allocated, 1, &fill), "node");
  int* p = static_cast<int*>(allocation.dptr);
  int value = 11;
  void* arguments[] = {&p, &value};
  cudaKernelNodeParams launch{};
  launch.func = reinterpret_cast<void*>(add);
  launch.gridDim = launch.blockDim = dim3(1);
  launch.kernelParams = arguments;
  cudaGraphNode_t added;
  expect_success(cudaGraphAddKernelNode(&added, graph, &filled, 1, &launch), "node");
  cudaGraphNodeType type;
  expect_success(cudaGraphNodeGetType(added, &type), "type");
  EXPECT_EQ(type, cudaGraphNodeTypeKernel);
  {
    executable launchable(graph);
    expect_success(cudaGraphLaunch(launchable, stream), "launch");
    int result = 0;
    expect_success(cudaStreamSynchronize(stream), "synchronise");
    expect_success(cudaMemcpy(&result, p, sizeof result, cudaMemcpyDeviceToHost), "copy");
    EXPECT_EQ(result, 111);
    EXPECT_EQ(cudaGraphLaunch(launchable, stream), cudaErrorInvalidValue)
        << "its memory is still allocated";
    cudaGetLastError();
    expect_success(cudaFreeAsync(p, stream), "free");
    expect_success(cudaStreamSynchronize(stream), "synchronise");
  }
  expect_success(cudaGraphDestroy(graph), "destroy");
}

cudaGraphNode_t add_node(cudaGraph_t to, const std::vector<cudaGraphNode_t>& after, int* p,
                         int value) {
  void* arguments[] = {&p, &value};
  cudaKernelNodeParams launch{};
  launch.func = reinterpret_cast<void*>(add);
  launch.gridDim = launch.blockDim = dim3(1);
  launch.kernelParams = arguments;
  cudaGraphNode_t made = nullptr;
  expect_success(cudaGraphAddKernelNode(&made, to, after.data(), after.size(), &launch), "node");
  return made;
}

// What a launch left allocated is freed by the next, if the graph was instantiated so.
TEST(Graphs, LaunchesMayFreeWhatIsLeft) {
  scoped_stream stream;
  cudaGraph_t graph;
  expect_success(cudaGraphCreate(&graph, 0), "create");
  cudaMemAllocNodeParams allocation = one_int();
  cudaGraphNode_t node;
  expect_success(cudaGraphAddMemAllocNode(&node, graph, nullptr, 0, &allocation), "node");
  cudaMemAllocNodeParams got{};
  expect_success(cudaGraphMemAllocNodeGetParams(node, &got), "parameters");
  EXPECT_EQ(got.dptr, allocation.dptr);
  EXPECT_EQ(got.bytesize, sizeof(int));
  void* freed = nullptr;
  EXPECT_EQ(cudaGraphMemFreeNodeGetParams(node, &freed), cudaErrorInvalidValue);
  cudaGraphExec_t executable = nullptr;
  EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 1 << 20), cudaErrorInvalidValue);
  cudaGetLastError();
  expect_success(cudaGraphInstantiate(&executable, graph, cudaGraphInstantiateFlagAutoFreeOnLaunch),
                 "instantiate");
  for (int i = 0; i < 3; ++i) {
    expect_success(cudaGraphLaunch(executable, stream), "launch");
    expect_success(cudaMemsetAsync(allocation.dptr, 1, sizeof(int), stream), "use");
  }
  expect_success(cudaFreeAsync(allocation.dptr, stream), "free");
  expect_success(cudaStreamSynchronize(stream), "synchronise");
  expect_success(cudaGraphExecDestroy(executable), "destroy");
  cudaGraphNode_t end = nullptr;
  expect_success(cudaGraphAddMemFreeNode(&end, graph, &node, 1, allocation.dptr), "node");
  expect_success(cudaGraphMemFreeNodeGetParams(end, &freed), "parameters");
  EXPECT_EQ(freed, allocation.dptr);
  expect_success(cudaGraphDestroy(graph), "destroy");
}

TEST(Graphs, UpdatesKeepTheShape) {
  scoped_stream stream;
  buffer<int> value(1);
  value.fill(0);
  expect_synchronised();
  const auto make = [&](int first, bool longer) {
    cudaGraph_t graph = nullptr;
    expect_success(cudaGraphCreate(&graph, 0), "create");
    const cudaGraphNode_t node = add_node(graph, {}, value.data(), first);
    if (longer) {
      add_node(graph, {node}, value.data(), 1);
    }
    return graph;
  };
  const cudaGraph_t graphs[] = {make(1, false), make(10, false), make(100, true)};
  cudaGraphExecUpdateResultInfo info;
  {
    executable launchable(graphs[0]);
    expect_success(cudaGraphLaunch(launchable, stream), "launch");
    expect_success(cudaGraphExecUpdate(launchable, graphs[1], &info), "update");
    EXPECT_EQ(info.result, cudaGraphExecUpdateSuccess);
    expect_success(cudaGraphLaunch(launchable, stream), "launch");
    EXPECT_EQ(cudaGraphExecUpdate(launchable, graphs[2], &info), cudaErrorGraphExecUpdateFailure);
    EXPECT_EQ(info.result, cudaGraphExecUpdateErrorTopologyChanged);
    cudaGetLastError();
    expect_success(cudaGraphLaunch(launchable, stream), "launch");
    expect_success(cudaStreamSynchronize(stream), "synchronise");
  }
  EXPECT_EQ(value.get()[0], 21);
  for (const cudaGraph_t each : graphs) {
    expect_success(cudaGraphDestroy(each), "destroy");
  }
}

TEST(Graphs, AMissingDependencyIsARace) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "a device says nothing";
  }
  scoped_stream stream;
  buffer<int> value(2);
  value.fill(0);
  expect_synchronised();
  for (const bool is_complete : {true, false}) {
    cudaGraph_t graph;
    expect_success(cudaGraphCreate(&graph, 0), "create");
    const cudaGraphNode_t left = add_node(graph, {}, value.data(), 1);
    const cudaGraphNode_t right = add_node(graph, {}, value.data() + 1, 2);
    const cudaGraphNode_t joined = add_node(
        graph, is_complete ? std::vector{left, right} : std::vector{right}, value.data(), 4);
    add_node(graph, {joined}, value.data() + 1, 16);
    {
      executable launchable(graph);
      cudasim_set_quiet(1);
      expect_success(cudaGraphLaunch(launchable, stream), "launch");
      add<<<1, 1, 0, stream>>>(value.data() + 1, 8);
      expect_success(cudaStreamSynchronize(stream), "synchronise");
      cudasim_set_quiet(0);
    }
    const char* const races = std::getenv("CUDASIM_RACES");
    const bool checks = races == nullptr || std::string(races) != "0";
    EXPECT_EQ(taken(CUDASIM_RACE) != 0, !is_complete && checks);
    expect_success(cudaGraphDestroy(graph), "destroy");
  }
  EXPECT_EQ(value.get(), (std::vector<int>{10, 52}));
}

TEST(Graphs, AGraphIsANodeOfAnother) {
  scoped_stream stream;
  buffer<int> value(1);
  value.fill(0);
  expect_synchronised();
  cudaGraph_t child;
  cudaGraph_t parent;
  expect_success(cudaGraphCreate(&child, 0), "create");
  expect_success(cudaGraphCreate(&parent, 0), "create");
  const cudaGraphNode_t first = add_node(child, {}, value.data(), 1);
  cudaGraphNode_t inner[2];
  expect_success(cudaGraphAddChildGraphNode(&inner[0], parent, nullptr, 0, child), "child");
  expect_success(cudaGraphAddChildGraphNode(&inner[1], parent, &inner[0], 1, child), "child");
  add_node(parent, {inner[1]}, value.data(), 10);
  cudaGraphNodeType type;
  expect_success(cudaGraphNodeGetType(inner[0], &type), "type");
  EXPECT_EQ(type, cudaGraphNodeTypeGraph);
  add_node(child, {first}, value.data(), 1000);  // too late for the parent, which has copies
  {
    executable launchable(parent);
    expect_success(cudaGraphLaunch(launchable, stream), "launch");
    expect_success(cudaStreamSynchronize(stream), "synchronise");
    EXPECT_EQ(value.get()[0], 12);
    cudaGraph_t captured;
    expect_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin");
    expect_success(cudaGraphLaunch(launchable, stream), "launch into a capture");
    expect_success(cudaStreamEndCapture(stream, &captured), "end");
    executable again(captured);
    expect_success(cudaGraphLaunch(again, stream), "launch");
    expect_success(cudaStreamSynchronize(stream), "synchronise");
    expect_success(cudaGraphDestroy(captured), "destroy");
  }
  EXPECT_EQ(value.get()[0], 24);
  cudaMemAllocNodeParams allocation = one_int();
  cudaGraphNode_t node;
  expect_success(cudaGraphAddMemAllocNode(&node, child, nullptr, 0, &allocation), "node");
  EXPECT_EQ(cudaGraphAddChildGraphNode(&node, parent, nullptr, 0, child), cudaErrorInvalidValue)
      << "it allocates";
  cudaGetLastError();
  expect_success(cudaGraphDestroy(parent), "destroy");
  expect_success(cudaGraphDestroy(child), "destroy");
}

}  // namespace
