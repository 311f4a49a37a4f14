// SPDX-License-Identifier: Apache-2.0
//
// Races of kernels and copies with the host itself, planted and right, in pinned, registered and
// managed memory. Ordinary host code makes the accesses, so the pages' protection has to see them.
#include "support.cuh"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>

namespace {

constexpr int n = 3000;  // of int: three pages
constexpr int page_ints = 1024;
constexpr std::size_t bytes = 4 * page_ints * sizeof(int);

__global__ void write(int* p, int value) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    p[i] = value;
  }
}
__global__ void read(const int* p, int* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n && p[i] == -1) {
    *out = 1;
  }
}
__global__ void publish(int* data, int* flag) {
  *data = 42;
  __threadfence_system();
  *const_cast<volatile int*>(flag) = 1;
}
void write_in(cudaStream_t stream, int* p) {
  write<<<(n + 255) / 256, 256, 0, stream>>>(p, 1);
}

// What the compiler may neither drop nor move across a call.
int get(const int* p) {
  return *const_cast<const volatile int*>(p);
}
void put(int* p, int value) {
  *const_cast<volatile int*>(p) = value;
}

// Shared memory of one kind, at the start of a page.
class shared_memory {
 public:
  explicit shared_memory(int kind) : kind_(kind) {
    if (kind == 0) {
      expect_success(cudaMallocHost(&data_, bytes), "pinned");
    } else if (kind == 1) {
      expect_success(cudaMallocManaged(&data_, bytes), "managed");
    } else {
      data_ = static_cast<int*>(
          mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      expect_success(cudaHostRegister(data_, bytes, cudaHostRegisterDefault), "register");
    }
    std::memset(data_, 0, bytes);
  }
  shared_memory(const shared_memory&) = delete;
  shared_memory& operator=(const shared_memory&) = delete;
  ~shared_memory() {
    if (kind_ == 0) {
      cudaFreeHost(data_);
    } else if (kind_ == 1) {
      cudaFree(data_);
    } else {
      cudaHostUnregister(data_);
      munmap(data_, bytes);
    }
  }
  int* data() { return data_; }

 private:
  int kind_;
  int* data_ = nullptr;
};

class HostRaces : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!cudasim_is_present() || std::getenv("CUDASIM_HOST_RACES") == nullptr) {
      GTEST_SKIP() << "only cudasim with CUDASIM_HOST_RACES=1 sees what the host does";
    }
    cudasim_set_quiet(1);
    memory_ = std::make_unique<shared_memory>(GetParam());
    device_ = std::make_unique<buffer<int>>(bytes / sizeof(int));
    cudaDeviceSynchronize();
  }
  void TearDown() override {
    if (memory_ != nullptr) {
      cudaDeviceSynchronize();
      memory_.reset();
      device_.reset();
      cudasim_set_quiet(0);
    }
  }
  // After all work: an operation that waits meets the host's access only when it runs.
  void expect_race(bool expected, const char* what) {
    cudaDeviceSynchronize();
    EXPECT_EQ(taken(CUDASIM_RACE) != 0, expected) << what << ": " << latest_report();
  }
  int* shared() { return memory_->data(); }
  int* device() { return device_->data(); }

 private:
  std::unique_ptr<shared_memory> memory_;
  std::unique_ptr<buffer<int>> device_;
};

TEST_P(HostRaces, ReadingWhatAKernelWritesNeedsAWait) {
  scoped_stream stream;
  write_in(stream, shared());
  get(shared());
  expect_race(true, "no wait");
  EXPECT_NE(latest_report().find("host code"), std::string::npos) << latest_report();
  EXPECT_NE(latest_report().find("write(int*, int)"), std::string::npos) << latest_report();

  scoped_event event;
  const std::function<void()> waits[] = {[&] { cudaStreamSynchronize(stream); },
                                         [&] { cudaDeviceSynchronize(); },
                                         [&] { cudaEventSynchronize(event); },
                                         [&] {
                                           while (cudaEventQuery(event) == cudaErrorNotReady) {
                                           }
                                         },
                                         [&] {
                                           while (cudaStreamQuery(stream) == cudaErrorNotReady) {
                                           }
                                         }};
  for (const auto& wait : waits) {
    write_in(stream, shared());
    cudaEventRecord(event, stream);
    wait();
    EXPECT_EQ(get(shared() + n - 1), 1);
    expect_race(false, "a wait");
  }
}

TEST_P(HostRaces, WaitingForAnotherStreamIsNotEnough) {
  scoped_stream stream;
  scoped_stream other;
  write_in(stream, shared());
  write_in(other, device());
  cudaStreamSynchronize(other);
  get(shared() + page_ints);
  expect_race(true, "the other stream");
}

TEST_P(HostRaces, ReadingWhatACopyWritesNeedsAWait) {
  scoped_stream stream;
  cudaMemcpyAsync(shared(), device(), bytes, cudaMemcpyDeviceToHost, stream);
  get(shared());
  expect_race(true, "no wait");
  cudaMemcpyAsync(shared(), device(), bytes, cudaMemcpyDeviceToHost, stream);
  cudaStreamSynchronize(stream);
  get(shared());
  expect_race(false, "a wait");
  cudaMemcpy(shared(), device(), bytes, cudaMemcpyDeviceToHost);
  get(shared());
  expect_race(false, "a copy that waits");
}

TEST_P(HostRaces, WritingWhatACopyReadsNeedsAWait) {
  scoped_stream stream;
  put(shared(), 1);
  cudaMemcpyAsync(device(), shared(), bytes, cudaMemcpyHostToDevice, stream);
  get(shared());
  expect_race(false, "two readers");
  cudaMemcpyAsync(device(), shared(), bytes, cudaMemcpyHostToDevice, stream);
  put(shared(), 2);
  expect_race(true, "no wait");
  cudaMemcpyAsync(device(), shared(), bytes, cudaMemcpyHostToDevice, stream);
  cudaStreamSynchronize(stream);
  put(shared(), 3);
  expect_race(false, "a wait");
}

TEST_P(HostRaces, AReadDoesNotHideTheWriteAfterIt) {
  scoped_stream stream;
  read<<<(n + 255) / 256, 256, 0, stream>>>(shared(), device());
  put(shared(), get(shared()) + 1);
  expect_race(true, "read, then write");
}

TEST_P(HostRaces, WhatTheHostDoesBeforeALaunchIsOrdered) {
  scoped_stream stream;
  scoped_stream other;
  for (int i = 0; i < 3; ++i) {
    put(shared(), i);
    put(shared() + 2 * page_ints, i);
    read<<<(n + 255) / 256, 256, 0, stream>>>(shared(), device());
    read<<<(n + 255) / 256, 256, 0, other>>>(shared(), device() + 1);
    cudaDeviceSynchronize();
  }
  expect_race(false, "launches order");
}

TEST_P(HostRaces, OtherWordsOfAPageAreNoRace) {
  scoped_stream stream;
  write_in(stream, shared());
  put(shared() + n + 10, get(shared() + n) + 1);
  expect_race(false, "other words");
}

TEST_P(HostRaces, TheExplicitInterfaceSeesEveryWord) {
  scoped_stream stream;
  write_in(stream, shared());
  cudasim_host_read(shared() + n, sizeof(int));
  expect_race(false, "behind it");
  write_in(stream, shared() + 8);
  cudasim_host_read(shared(), 9 * sizeof(int));
  expect_race(true, "the last word");
  read<<<(n + 255) / 256, 256, 0, stream>>>(shared(), device());
  cudasim_host_read(shared(), bytes);
  expect_race(false, "two readers");
  read<<<(n + 255) / 256, 256, 0, stream>>>(shared(), device());
  cudasim_host_write(shared(), bytes);
  expect_race(true, "all of it");
}

void increment(void* data) {
  put(static_cast<int*>(data), get(static_cast<int*>(data)) + 1);
}

TEST_P(HostRaces, HostFunctionsBelongToTheirStream) {
  scoped_stream stream;
  scoped_stream other;
  scoped_event event;
  for (const bool waits : {true, false}) {
    cudaLaunchHostFunc(stream, increment, shared());
    write_in(stream, shared());
    cudaLaunchHostFunc(stream, increment, shared());
    cudaEventRecord(event, stream);
    if (waits) {
      cudaStreamWaitEvent(other, event, 0);
    }
    read<<<(n + 255) / 256, 256, 0, other>>>(shared(), device());
    expect_race(!waits, "host function");
  }
}

void add_one(void* data) {
  ++*static_cast<std::atomic<int>*>(data);
}

// Host functions and the rest of the host have means of their own.
TEST_P(HostRaces, HostCodeMayShareWithHostFunctions) {
  scoped_stream stream;
  auto* const count = new (shared()) std::atomic<int>(0);
  cudaLaunchHostFunc(stream, add_one, count);
  ++*count;
  cudaLaunchHostFunc(stream, add_one, count);
  count->load();
  expect_race(false, "host and host");
  EXPECT_EQ(*count, 3);
}

// A kernel that hands over through memory is ordered by means that are not seen.
TEST_P(HostRaces, AHandOverThroughMemoryIsNoRace) {
  if (std::getenv("CUDASIM_ASYNC") == nullptr) {
    GTEST_SKIP() << "the host may spin in asynchronous mode only";
  }
  scoped_stream stream;
  int* const flag = shared() + page_ints;
  publish<<<1, 1, 0, stream>>>(shared(), flag);
  while (get(flag) == 0) {
  }
  EXPECT_EQ(get(shared()), 42);
  expect_race(false, "hand-over");
}

TEST_P(HostRaces, CallsMayWriteTheirResultsThere) {
  scoped_stream stream;
  write_in(stream, device());
  auto** const result = reinterpret_cast<void**>(shared() + page_ints);
  expect_success(cudaMalloc(result, 256), "cudaMalloc");
  expect_success(cudaFree(*result), "cudaFree");
  expect_race(false, "result");
}

TEST_P(HostRaces, SystemCallsWorkAfterAWait) {
  scoped_stream stream;
  write_in(stream, shared());
  cudaStreamSynchronize(stream);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_NONBLOCK), 0);
  EXPECT_EQ(::write(ends[1], shared(), 256), 256);
  EXPECT_EQ(::read(ends[0], shared() + page_ints, 256), 256);
  close(ends[0]);
  close(ends[1]);
  expect_race(false, "pipe");
}

INSTANTIATE_TEST_SUITE_P(, HostRaces, ::testing::Range(0, 3), [](const auto& of) {
  return std::string(of.param == 0 ? "Pinned" : of.param == 1 ? "Managed" : "Registered");
});

}  // namespace
