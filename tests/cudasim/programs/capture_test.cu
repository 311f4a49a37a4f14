// SPDX-License-Identifier: Apache-2.0
//
// What may happen while a stream captures and what spoils the capture: by modes, by threads, by
// streams that do not join. An allocator has to know all of it.
#include "support.cuh"

#include <functional>
#include <thread>

namespace {

__global__ void add(int* p, int value) {
  *p += value;
}

cudaStreamCaptureStatus status_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  expect_success(cudaStreamIsCapturing(stream, &status), "status");
  return status;
}

// A capture that a test begins; at its end the test says how it ends.
class capturing {
 public:
  explicit capturing(cudaStreamCaptureMode mode, unsigned flags = cudaStreamNonBlocking)
      : stream_(flags) {
    expect_success(cudaStreamBeginCapture(stream_, mode), "begin");
  }
  operator cudaStream_t() const { return stream_; }
  void expect_end(cudaError_t error) {
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), error);
    EXPECT_EQ(graph != nullptr, error == cudaSuccess);
    EXPECT_EQ(status_of(stream_), cudaStreamCaptureStatusNone);
    if (graph != nullptr) {
      expect_success(cudaGraphDestroy(graph), "destroy");
    }
    cudaGetLastError();
  }

 private:
  scoped_stream stream_;
};

class Capture : public ::testing::Test {
 protected:
  // Calls f in a mode of its thread, as an allocator does.
  template <class F>
  static cudaError_t with_mode(cudaStreamCaptureMode mode, F f) {
    expect_success(cudaThreadExchangeStreamCaptureMode(&mode), "exchange");
    const cudaError_t error = f();
    expect_success(cudaThreadExchangeStreamCaptureMode(&mode), "exchange");
    cudaGetLastError();
    return error;
  }
  static cudaError_t allocate() {
    void* p = nullptr;
    const cudaError_t error = cudaMalloc(&p, 64);
    EXPECT_EQ(p != nullptr, error == cudaSuccess);
    return error == cudaSuccess ? cudaFree(p) : error;
  }
  template <class F>
  static void on_another_thread(F f) {
    std::thread(f).join();
  }
};

TEST_F(Capture, SynchronisingSpoilsIt) {
  capturing stream(cudaStreamCaptureModeThreadLocal);
  EXPECT_EQ(status_of(stream), cudaStreamCaptureStatusActive);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(status_of(stream), cudaStreamCaptureStatusInvalidated);
  stream.expect_end(cudaErrorStreamCaptureInvalidated);
}

// As drivers do that do not say so (a CCCL comment does); IsCapturing is the one safe question.
TEST_F(Capture, WhichStreamItIsMayNotBeAsked) {
  unsigned long long id = 0;
  int device = 0;
  for (const auto mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal}) {
    for (const bool asks_id : {true, false}) {
      capturing stream(mode);
      EXPECT_EQ(asks_id ? cudaStreamGetId(stream, &id) : cudaStreamGetDevice(stream, &device),
                cudaErrorStreamCaptureUnsupported);
      EXPECT_EQ(status_of(stream), cudaStreamCaptureStatusInvalidated);
      stream.expect_end(cudaErrorStreamCaptureInvalidated);
    }
  }
  capturing relaxed(cudaStreamCaptureModeRelaxed);
  EXPECT_EQ(cudaStreamGetId(relaxed, &id), cudaSuccess);
  relaxed.expect_end(cudaSuccess);
  // Another stream may be asked in the relaxed mode alone.
  scoped_stream other;
  capturing global(cudaStreamCaptureModeGlobal);
  EXPECT_EQ(with_mode(cudaStreamCaptureModeRelaxed, [&] { return cudaStreamGetId(other, &id); }),
            cudaSuccess);
  EXPECT_EQ(status_of(global), cudaStreamCaptureStatusActive);
  EXPECT_EQ(cudaStreamGetId(other, &id), cudaErrorStreamCaptureUnsupported);
  global.expect_end(cudaErrorStreamCaptureInvalidated);
}

TEST_F(Capture, AJoinedStreamMayBeDestroyed) {
  capturing stream(cudaStreamCaptureModeGlobal);
  scoped_event event;
  cudaStream_t forked = nullptr;
  expect_success(cudaStreamCreateWithFlags(&forked, cudaStreamNonBlocking), "create");
  expect_success(cudaEventRecord(event, stream), "fork");
  expect_success(cudaStreamWaitEvent(forked, event, 0), "fork");
  expect_success(cudaLaunchHostFunc(
                     forked, [](void*) {}, nullptr),
                 "work");
  expect_success(cudaEventRecord(event, forked), "join");
  expect_success(cudaStreamWaitEvent(stream, event, 0), "join");
  EXPECT_EQ(cudaStreamDestroy(forked), cudaSuccess);
  stream.expect_end(cudaSuccess);
}

TEST_F(Capture, WorkInASpoiltOneIsRefused) {
  buffer<int> value(1);
  expect_synchronised();
  capturing stream(cudaStreamCaptureModeRelaxed);
  scoped_event event;
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorStreamCaptureUnsupported);
  add<<<1, 1, 0, stream>>>(value.data(), 1);
  EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaErrorStreamCaptureInvalidated);
  stream.expect_end(cudaErrorStreamCaptureInvalidated);
}

TEST_F(Capture, TheDeviceIsNotSynchronised) {
  capturing stream(cudaStreamCaptureModeRelaxed);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
  stream.expect_end(cudaErrorStreamCaptureInvalidated);
}

TEST_F(Capture, UnsafeCallsGoByTheModes) {
  constexpr cudaStreamCaptureMode modes[] = {
      cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed};
  for (const cudaStreamCaptureMode of_capture : modes) {
    for (const cudaStreamCaptureMode of_thread : modes) {
      for (const bool elsewhere : {false, true}) {
        capturing stream(of_capture);
        cudaError_t error = cudaErrorUnknown;
        const auto act = [&] { error = with_mode(of_thread, allocate); };
        elsewhere ? on_another_thread(act) : act();
        const bool is_safe = of_capture == cudaStreamCaptureModeRelaxed ||
                             of_thread == cudaStreamCaptureModeRelaxed ||
                             (elsewhere && (of_capture != cudaStreamCaptureModeGlobal ||
                                            of_thread != cudaStreamCaptureModeGlobal));
        EXPECT_EQ(error, is_safe ? cudaSuccess : cudaErrorStreamCaptureUnsupported)
            << of_capture << of_thread << elsewhere;
        stream.expect_end(is_safe ? cudaSuccess : cudaErrorStreamCaptureInvalidated);
      }
    }
  }
}

TEST_F(Capture, TheseCallsAreUnsafe) {
  scoped_event event;
  scoped_stream other;
  std::vector<char> bytes(8192);
  void* p = nullptr;
  void* pinned = nullptr;
  void* device = nullptr;
  expect_success(cudaMallocHost(&pinned, 64), "pinned");
  expect_success(cudaMalloc(&device, 64), "device");
  const std::function<cudaError_t()> calls[] = {
      [&] { return cudaMalloc(&p, 64); },
      [&] { return cudaFree(device); },
      [&] { return cudaMallocHost(&p, 64); },
      [&] { return cudaHostAlloc(&p, 64, cudaHostAllocDefault); },
      [&] { return cudaFreeHost(pinned); },
      [&] { return cudaMallocManaged(&p, 64); },
      [&] { return cudaHostRegister(bytes.data(), bytes.size(), cudaHostRegisterDefault); },
      [&] { return cudaHostUnregister(bytes.data()); },
      [&] { return cudaEventQuery(event); },
      [&] { return cudaStreamQuery(other); },
  };
  for (const auto& each : calls) {
    capturing stream(cudaStreamCaptureModeGlobal);
    EXPECT_EQ(each(), cudaErrorStreamCaptureUnsupported) << &each - calls;
    stream.expect_end(cudaErrorStreamCaptureInvalidated);
  }
  expect_success(cudaFreeHost(pinned), "pinned");
  expect_success(cudaFree(device), "device");
}

// What a stream-ordered pool does while another stream captures.
TEST_F(Capture, StreamOrderedCallsElsewhereAreSafe) {
  capturing stream(cudaStreamCaptureModeGlobal);
  scoped_stream other;
  scoped_event event;
  void* p = nullptr;
  expect_success(cudaMallocAsync(&p, 64, other), "allocate");
  expect_success(cudaEventRecord(event, other), "record");
  expect_success(cudaStreamWaitEvent(other, event, 0), "wait");
  expect_success(cudaFreeAsync(p, other), "free");
  stream.expect_end(cudaSuccess);
}

TEST_F(Capture, OnlyItsThreadEndsIt) {
  capturing stream(cudaStreamCaptureModeThreadLocal);
  on_another_thread([&] {
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureWrongThread);
  });
  stream.expect_end(cudaSuccess);
}

TEST_F(Capture, StreamsHaveToJoin) {
  for (const bool joins : {true, false}) {
    buffer<int> value(1);
    expect_synchronised();
    scoped_stream side;
    scoped_event fork;
    scoped_event join;
    capturing stream(cudaStreamCaptureModeGlobal);
    expect_success(cudaEventRecord(fork, stream), "fork");
    expect_success(cudaStreamWaitEvent(side, fork, 0), "wait");
    EXPECT_EQ(status_of(side), cudaStreamCaptureStatusActive);
    add<<<1, 1, 0, side>>>(value.data(), 1);
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(side, &graph), cudaErrorStreamCaptureUnmatched);
    cudaGetLastError();
    expect_success(cudaEventRecord(join, side), "join");
    if (joins) {
      expect_success(cudaStreamWaitEvent(stream, join, 0), "wait");
    }
    stream.expect_end(joins ? cudaSuccess : cudaErrorStreamCaptureUnjoined);
    EXPECT_EQ(status_of(side), cudaStreamCaptureStatusNone);
    EXPECT_EQ(cudaStreamWaitEvent(side, fork, 0), cudaErrorCapturedEvent);
    EXPECT_EQ(cudaEventQuery(fork), cudaErrorCapturedEvent);
    cudaGetLastError();
  }
}

TEST_F(Capture, TheLegacyStreamStaysOut) {
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal),
            cudaErrorStreamCaptureUnsupported);
  buffer<int> value(1);
  expect_synchronised();
  capturing stream(cudaStreamCaptureModeRelaxed, cudaStreamDefault);
  cudaStreamCaptureStatus status;
  EXPECT_EQ(cudaStreamIsCapturing(nullptr, &status), cudaErrorStreamCaptureImplicit);
  EXPECT_EQ(status_of(stream), cudaStreamCaptureStatusActive) << "asking spoils nothing";
  add<<<1, 1>>>(value.data(), 1);
  EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureImplicit);
  stream.expect_end(cudaErrorStreamCaptureInvalidated);
}

TEST_F(Capture, IdsAndGraphsAreKnown) {
  buffer<int> value(1);
  expect_synchronised();
  unsigned long long ids[2] = {};
  for (unsigned long long& id : ids) {
    capturing stream(cudaStreamCaptureModeRelaxed);
    add<<<1, 1, 0, stream>>>(value.data(), 1);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaGraph_t graph = nullptr;
    const cudaGraphNode_t* last = nullptr;
    std::size_t count = 0;
    expect_success(cudaStreamGetCaptureInfo(stream, &status, &id, &graph, &last, nullptr, &count),
                   "info");
    EXPECT_EQ(status, cudaStreamCaptureStatusActive);
    EXPECT_NE(graph, nullptr);
    ASSERT_EQ(count, 1u);
    cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
    expect_success(cudaGraphNodeGetType(last[0], &type), "type");
    EXPECT_EQ(type, cudaGraphNodeTypeKernel);
    stream.expect_end(cudaSuccess);
  }
  EXPECT_NE(ids[0], ids[1]);
}

TEST_F(Capture, GoesOnInAGraphOfTheProgram) {
  buffer<int> value(1);
  value.fill(0);
  expect_synchronised();
  scoped_stream stream;
  cudaGraph_t graph = nullptr;
  expect_success(cudaGraphCreate(&graph, 0), "create");
  cudaMemsetParams fill{};
  fill.dst = value.data();
  fill.elementSize = 4;
  fill.width = fill.height = 1;
  fill.value = 5;
  cudaGraphNode_t first = nullptr;
  expect_success(cudaGraphAddMemsetNode(&first, graph, nullptr, 0, &fill), "node");
  expect_success(
      cudaStreamBeginCaptureToGraph(stream, graph, &first, nullptr, 1, cudaStreamCaptureModeGlobal),
      "begin");
  add<<<1, 1, 0, stream>>>(value.data(), 2);
  cudaGraph_t ended = nullptr;
  expect_success(cudaStreamEndCapture(stream, &ended), "end");
  EXPECT_EQ(ended, graph);
  cudaGraphExec_t executable = nullptr;
  expect_success(cudaGraphInstantiate(&executable, graph, 0), "instantiate");
  expect_success(cudaGraphLaunch(executable, stream), "launch");
  expect_success(cudaStreamSynchronize(stream), "synchronise");
  EXPECT_EQ(value.get()[0], 7);
  expect_success(cudaGraphExecDestroy(executable), "destroy");
  expect_success(cudaGraphDestroy(graph), "destroy");
}

TEST_F(Capture, BadArgumentsAreRefused) {
  scoped_stream stream;
  cudaStreamCaptureMode mode = static_cast<cudaStreamCaptureMode>(7);
  EXPECT_EQ(cudaStreamBeginCapture(stream, mode), cudaErrorInvalidValue);
  EXPECT_EQ(cudaThreadExchangeStreamCaptureMode(&mode), cudaErrorInvalidValue);
  EXPECT_EQ(cudaThreadExchangeStreamCaptureMode(nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaStreamIsCapturing(stream, nullptr), cudaErrorInvalidValue);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState);
  EXPECT_EQ(cudaStreamBeginCaptureToGraph(stream, nullptr, nullptr, nullptr, 0,
                                          cudaStreamCaptureModeGlobal),
            cudaErrorInvalidValue);
  cudaGetLastError();
}

}  // namespace
