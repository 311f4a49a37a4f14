// SPDX-License-Identifier: Apache-2.0
//
// Events that two processes share: each records them and waits for the other's records.
#include "peer.hpp"
#include "support.cuh"

#include <cstring>
#include <future>

namespace {

constexpr int count = 1000;

__global__ void set(int* p, int n, int value) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    p[i] = value;
  }
}
__global__ void copy(int* to, const int* from, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    to[i] = from[i];
  }
}

class shared_event {
 public:
  shared_event() {
    expect_success(cudaEventCreateWithFlags(&made_, cudaEventInterprocess | cudaEventDisableTiming),
                   "cudaEventCreateWithFlags");
  }
  explicit shared_event(const cudaIpcEventHandle_t& handle) {
    expect_success(cudaIpcOpenEventHandle(&made_, handle), "cudaIpcOpenEventHandle");
  }
  shared_event(const shared_event&) = delete;
  shared_event& operator=(const shared_event&) = delete;
  ~shared_event() { expect_success(cudaEventDestroy(made_), "cudaEventDestroy"); }
  operator cudaEvent_t() const { return made_; }
  cudaIpcEventHandle_t handle() const {
    cudaIpcEventHandle_t out;
    expect_success(cudaIpcGetEventHandle(&out, made_), "cudaIpcGetEventHandle");
    return out;
  }

 private:
  cudaEvent_t made_ = nullptr;
};

class SharedEvent : public first_process {};
class EventPeer : public second_process {};

TEST_F(EventPeer, DISABLED_CopiesAfterTheEvent) {
  const auto memory = parent.receive<cudaIpcMemHandle_t>();
  const shared_event written(parent.receive<cudaIpcEventHandle_t>());
  const shared_event copied(parent.receive<cudaIpcEventHandle_t>());
  int* shared = nullptr;
  expect_success(cudaIpcOpenMemHandle(reinterpret_cast<void**>(&shared), memory,
                                      cudaIpcMemLazyEnablePeerAccess),
                 "open");
  buffer<int> mine(count);
  {
    scoped_stream order;
    parent.await();  // it has been recorded, and cannot have executed
    EXPECT_EQ(cudaEventQuery(written), cudaErrorNotReady);
    expect_success(cudaStreamWaitEvent(order, written, 0), "wait");
    copy<<<1, 64, 0, order>>>(mine.data(), shared, count);
    set<<<1, 64, 0, order>>>(shared, count, 3);
    expect_success(cudaEventRecord(copied, order), "record");
    EXPECT_EQ(cudaStreamQuery(order), cudaErrorNotReady);
    parent.signal();
    expect_success(cudaEventSynchronize(written), "wait on the host");
    expect_success(cudaEventQuery(written), "query");
  }
  EXPECT_EQ(mine.get(), std::vector<int>(count, 2));
  expect_success(cudaIpcCloseMemHandle(shared), "close");
  parent.await();
}
TEST_F(SharedEvent, EachProcessWaitsForTheOthersRecords) {
  buffer<int> mine(std::vector<int>(count, 1));
  buffer<int> last(count);
  const shared_event written;
  const shared_event copied;
  expect_success(cudaEventQuery(written), "nothing is recorded");
  peer other("CopiesAfterTheEvent");
  cudaIpcMemHandle_t memory;
  expect_success(cudaIpcGetMemHandle(&memory, mine.data()), "cudaIpcGetMemHandle");
  other.send(memory);
  other.send(written.handle());
  other.send(copied.handle());
  scoped_stream writing;
  scoped_stream reading;
  std::promise<void> opened;
  std::future<void> gate = opened.get_future();
  const auto pass = [](void* at) { static_cast<std::future<void>*>(at)->wait(); };
  expect_success(cudaLaunchHostFunc(writing, pass, &gate), "cudaLaunchHostFunc");
  set<<<1, 64, 0, writing>>>(mine.data(), count, 2);
  expect_success(cudaEventRecord(written, writing), "record");
  other.signal();
  other.await();
  expect_success(cudaStreamWaitEvent(reading, copied, 0), "wait");
  copy<<<1, 64, 0, reading>>>(last.data(), mine.data(), count);
  EXPECT_EQ(cudaEventQuery(copied), cudaErrorNotReady) << "it follows what waits";
  opened.set_value();
  expect_success(cudaStreamSynchronize(reading), "synchronise");
  expect_success(cudaEventQuery(copied), "query");
  EXPECT_EQ(last.get(), std::vector<int>(count, 3));
  other.signal();
}

TEST_F(EventPeer, DISABLED_OpensBadEvents) {
  const auto gone = parent.receive<cudaIpcEventHandle_t>();
  cudaEvent_t made = nullptr;
  EXPECT_EQ(cudaIpcOpenEventHandle(&made, gone), cudaErrorMapBufferObjectFailed);
  EXPECT_EQ(cudaIpcOpenEventHandle(&made, cudaIpcEventHandle_t{}), cudaErrorInvalidValue);
  EXPECT_EQ(cudaIpcOpenEventHandle(nullptr, gone), cudaErrorInvalidValue);
  cudaIpcEventHandle_t memory;
  const auto of_memory = parent.receive<cudaIpcMemHandle_t>();
  std::memcpy(&memory, &of_memory, sizeof memory);
  EXPECT_EQ(cudaIpcOpenEventHandle(&made, memory), cudaErrorInvalidValue);
  EXPECT_EQ(made, nullptr);

  const shared_event opened(parent.receive<cudaIpcEventHandle_t>());
  expect_success(cudaEventQuery(opened), "nothing is recorded");
  cudaIpcEventHandle_t again;
  EXPECT_EQ(cudaIpcGetEventHandle(&again, opened), cudaErrorInvalidResourceHandle)
      << "it is not ours";
  float milliseconds = 0;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, opened, opened), cudaErrorInvalidResourceHandle);
  parent.signal();
  parent.await();
  if (cudasim_is_present()) {  // undefined on a device
    cudasim_set_quiet(1);
    EXPECT_EQ(cudaEventQuery(opened), cudaErrorInvalidResourceHandle);
    EXPECT_EQ(cudaEventRecord(opened, nullptr), cudaErrorInvalidResourceHandle);
    EXPECT_EQ(cudaStreamWaitEvent(nullptr, opened, 0), cudaErrorInvalidResourceHandle);
    EXPECT_EQ(taken(CUDASIM_STALE_HANDLE), 3u);
  }
}
TEST_F(SharedEvent, BadEventsAreRefused) {
  cudaEvent_t none = nullptr;
  EXPECT_EQ(cudaEventCreateWithFlags(&none, cudaEventInterprocess), cudaErrorInvalidValue)
      << "such an event has no times";
  const scoped_event plain;
  cudaIpcEventHandle_t unused;
  EXPECT_EQ(cudaIpcGetEventHandle(&unused, plain), cudaErrorInvalidResourceHandle);
  buffer<int> mine(count);
  cudaIpcMemHandle_t memory;
  expect_success(cudaIpcGetMemHandle(&memory, mine.data()), "cudaIpcGetMemHandle");
  peer other("OpensBadEvents");
  other.send(shared_event().handle());
  other.send(memory);
  {
    const shared_event soon_gone;
    EXPECT_EQ(cudaIpcGetEventHandle(nullptr, soon_gone), cudaErrorInvalidValue);
    const cudaIpcEventHandle_t handle = soon_gone.handle();
    EXPECT_EQ(cudaIpcOpenEventHandle(&none, handle), cudaErrorDeviceUninitialized)
        << "in its own process";
    other.send(handle);
    other.await();
  }
  other.signal();
}

}  // namespace
