// SPDX-License-Identifier: Apache-2.0
//
// Planted errors: each has to be found in every mode and schedule, the right program beside it has
// to stay without a report. What is planted is taken; the rest makes the process fail.
#include "support.cuh"

#include <cstdint>
#include <cstdlib>

namespace {

__global__ void write(int* p, int n, int value) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    p[i] = value;
  }
}
__global__ void count_set(const int* p, int n, int* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n && p[i] != 0) {
    atomicAdd(out, 1);
  }
}
__global__ void write_misaligned(char* p) {
  *reinterpret_cast<int*>(p + 2) = 1;
}
__global__ void wait_for_ever() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    asm volatile("bar.sync 1, 64;" ::: "memory");
  }
}
__global__ void trap() {
  asm volatile("trap;");
}
__global__ void overrun_shared(int* out, int index) {
  __shared__ int values[32];
  values[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = values[index + threadIdx.x];
}

constexpr int n = 1000;
void write_in(cudaStream_t stream, int* p, int count = n, int value = 1) {
  write<<<(count + 255) / 256, 256, 0, stream>>>(p, count, value);
}

class Hazards : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cudasim_is_present()) {
      GTEST_SKIP() << "an error on a real device would end the process";
    }
    cudasim_set_quiet(1);
  }
  void TearDown() override {
    if (cudasim_is_present()) {
      cudaDeviceSynchronize();
      cudasim_clear_error();
      cudasim_set_quiet(0);
    }
  }
  // The device ends with the error, and reports say that it was `kind`, naming the kernel.
  void expect_fault(cudaError_t error, cudasim_finding kind, const std::string& text) {
    EXPECT_EQ(cudaDeviceSynchronize(), error);
    EXPECT_EQ(taken(kind), 1u) << latest_report();
    EXPECT_NE(latest_report().find(text), std::string::npos) << latest_report();
    EXPECT_EQ(cudasim_untaken_reports(), 0u) << latest_report();
    cudasim_clear_error();
  }
};

TEST_F(Hazards, OutOfBounds) {
  int* p = nullptr;
  cudaMalloc(&p, n * sizeof *p);
  write_in(nullptr, p, n + 1);
  expect_fault(cudaErrorIllegalAddress, CUDASIM_OUT_OF_BOUNDS, "4000 bytes of device memory");
  EXPECT_NE(latest_report().find("write(int*, int, int)"), std::string::npos);
  EXPECT_NE(latest_report().find("block (3,0,0), thread (232,0,0)"), std::string::npos)
      << latest_report();
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}

TEST_F(Hazards, CopiesOutOfBounds) {
  int* p = nullptr;
  cudaMalloc(&p, n * sizeof *p);
  std::vector<int> host(n + 1);
  EXPECT_EQ(cudaMemcpy(p, host.data(), (n + 1) * sizeof(int), cudaMemcpyHostToDevice),
            cudaErrorIllegalAddress);
  expect_fault(cudaErrorIllegalAddress, CUDASIM_OUT_OF_BOUNDS, "cudaMemcpy");
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}

TEST_F(Hazards, OutOfBoundsOfSharedMemory) {
  buffer<int> out(32);
  overrun_shared<<<1, 32>>>(out.data(), 1);
  expect_fault(cudaErrorIllegalAddress, CUDASIM_OUT_OF_BOUNDS, "shared memory");
}

TEST_F(Hazards, UseAfterFree) {
  int* p = nullptr;
  cudaMalloc(&p, n * sizeof *p);
  cudaFree(p);
  write_in(nullptr, p);
  expect_fault(cudaErrorIllegalAddress, CUDASIM_USE_AFTER_FREE, "freed by cudaFree");
}

TEST_F(Hazards, UseAfterFreeInStreamOrder) {
  scoped_stream a;
  int* p = nullptr;
  cudaMallocAsync(&p, n * sizeof *p, a);
  cudaFreeAsync(p, a);
  write_in(a, p);
  expect_fault(cudaErrorIllegalAddress, CUDASIM_USE_AFTER_FREE, "cudaFreeAsync in stream");
}

TEST_F(Hazards, UnallocatedMemory) {
  write_in(nullptr, reinterpret_cast<int*>(0x1000));
  expect_fault(cudaErrorIllegalAddress, CUDASIM_UNALLOCATED, "outside of any allocation");
}

TEST_F(Hazards, UseThatIsNotOrderedAfterTheAllocation) {
  scoped_stream a;
  scoped_stream b;
  int* p = nullptr;
  cudaMallocAsync(&p, n * sizeof *p, a);
  write_in(b, p);
  cudaDeviceSynchronize();
  // If b ran first there was nothing to use yet; else it was there by luck.
  EXPECT_GE(taken(CUDASIM_USE_BEFORE_ALLOCATION) + taken(CUDASIM_UNORDERED_USE), 1u);
  cudasim_clear_error();
  cudaFreeAsync(p, a);
}

TEST_F(Hazards, FreeThatIsNotOrderedAfterTheUse) {
  scoped_stream a;
  scoped_stream b;
  int* p = nullptr;
  cudaMallocAsync(&p, n * sizeof *p, a);
  cudaStreamSynchronize(a);
  write_in(b, p);
  cudaFreeAsync(p, a);
  cudaDeviceSynchronize();
  EXPECT_GE(taken(CUDASIM_USE_AFTER_FREE) + taken(CUDASIM_UNORDERED_FREE), 1u);
  cudasim_clear_error();  // or the streams could not be destroyed
}

TEST_F(Hazards, MisalignedAddress) {
  buffer<char> data(16);
  write_misaligned<<<1, 1>>>(data.data());
  expect_fault(cudaErrorMisalignedAddress, CUDASIM_MISALIGNED, "no multiple");
}

TEST_F(Hazards, Deadlock) {
  wait_for_ever<<<1, 64>>>();
  expect_fault(cudaErrorLaunchFailure, CUDASIM_DEADLOCK, "never arrive");
}

TEST_F(Hazards, Trap) {
  trap<<<1, 1>>>();
  expect_fault(cudaErrorLaunchFailure, CUDASIM_KERNEL_FAULT, "trap");
}

TEST_F(Hazards, StaleHandles) {
  cudaStream_t stream;
  cudaEvent_t event;
  cudaStreamCreate(&stream);
  cudaEventCreate(&event);
  cudaStreamDestroy(stream);
  cudaEventDestroy(event);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(taken(CUDASIM_STALE_HANDLE), 1u);
  EXPECT_NE(latest_report().find("cudaStreamSynchronize on a destroyed stream"), std::string::npos);
  EXPECT_EQ(cudaEventRecord(event, nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(taken(CUDASIM_STALE_HANDLE), 1u);
  cudaGetLastError();
}

// As drivers do: the handle destroyed last is the next one, and names the new object alone.
TEST_F(Hazards, HandlesComeAgain) {
  cudaStream_t streams[3];
  unsigned long long ids[3];
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaStreamGetId(streams[i], &ids[i]), cudaSuccess);
  }
  ASSERT_EQ(cudaStreamDestroy(streams[0]), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(streams[1]), cudaSuccess);
  ASSERT_EQ(cudaStreamCreate(&streams[2]), cudaSuccess);
  EXPECT_EQ(streams[2], streams[1]);
  ASSERT_EQ(cudaStreamGetId(streams[2], &ids[2]), cudaSuccess);
  EXPECT_NE(ids[2], ids[1]);
  EXPECT_EQ(cudaStreamQuery(streams[0]), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(taken(CUDASIM_STALE_HANDLE), 1u);
  cudaEvent_t first;
  cudaEvent_t second;
  ASSERT_EQ(cudaEventCreate(&first), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(first, streams[2]), cudaSuccess);
  ASSERT_EQ(cudaEventDestroy(first), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&second, cudaEventDisableTiming), cudaSuccess);
  EXPECT_EQ(second, first);
  EXPECT_EQ(cudaEventQuery(second), cudaSuccess) << "it was never recorded";
  cudaEventDestroy(second);
  cudaStreamDestroy(streams[2]);
  cudaGetLastError();
}

TEST_F(Hazards, UnsupportedFunctionsNameThemselves) {
  cudaArray_t array;
  const cudaChannelFormatDesc format{32, 0, 0, 0, cudaChannelFormatKindFloat};
  EXPECT_EQ(cudaMallocArray(&array, &format, 4, 4, 0), cudaErrorNotSupported);
  EXPECT_EQ(taken(CUDASIM_UNSUPPORTED), 1u);
  EXPECT_NE(latest_report().find("cudaMallocArray"), std::string::npos);
  cudaGetLastError();
}

TEST_F(Hazards, UninitialisedMemoryIsPoison) {
  buffer<unsigned> data(4);
  EXPECT_EQ(data.get(), std::vector<unsigned>(4, 0xA5A5A5A5u));
}

// A user's own pool over one allocation: a block used in stream a is handed out again in stream b.
enum class order { none, early_event, event, synchronise, query, other_block };

class Slab : public Hazards {
 protected:
  void hand_over(order how) {
    scoped_stream a;
    scoped_stream b;
    scoped_event event;
    buffer<int> slab(4 * n);
    buffer<int> out(1);
    out.fill(0);
    cudaDeviceSynchronize();
    if (how == order::early_event) {
      cudaEventRecord(event, a);
    }
    int* const block = slab.data() + n;
    write_in(a, block);
    count_set<<<4, 256, 0, a>>>(block, n, out.data());
    if (how == order::event || how == order::query) {
      cudaEventRecord(event, a);
    }
    if (how == order::event || how == order::early_event) {
      cudaStreamWaitEvent(b, event, 0);
    } else if (how == order::synchronise) {
      cudaStreamSynchronize(a);
    } else if (how == order::query) {
      while (cudaEventQuery(event) == cudaErrorNotReady) {
      }
    }
    write_in(b, how == order::other_block ? block + n : block, n, 0);
    cudaDeviceSynchronize();
  }
};

TEST_F(Slab, AMissingEventIsARace) {
  hand_over(order::none);
  EXPECT_GE(taken(CUDASIM_RACE), 1u);
  EXPECT_NE(latest_report().find("write"), std::string::npos);
}
TEST_F(Slab, AnEventThatIsTooEarlyIsARace) {
  hand_over(order::early_event);
  EXPECT_GE(taken(CUDASIM_RACE), 1u);
}
TEST_F(Slab, OrderIsNoRace) {
  for (const order how : {order::event, order::synchronise, order::query, order::other_block}) {
    hand_over(how);
    EXPECT_EQ(cudasim_untaken_reports(), 0u) << static_cast<int>(how) << latest_report();
  }
}

// Two streams read a block; whoever writes it next has to wait for both.
TEST_F(Slab, EveryReaderCounts) {
  for (const bool waits_for_both : {true, false}) {
    scoped_stream streams[3];
    scoped_event read[2];
    buffer<int> block(n);
    buffer<int> out(1);
    block.fill(0);
    out.fill(0);
    cudaDeviceSynchronize();
    for (int i = 0; i < 2; ++i) {
      count_set<<<4, 256, 0, streams[i]>>>(block.data(), n, out.data());
      cudaEventRecord(read[i], streams[i]);
    }
    cudaStreamWaitEvent(streams[2], read[0], 0);
    if (waits_for_both) {
      cudaStreamWaitEvent(streams[2], read[1], 0);
    }
    write_in(streams[2], block.data());
    cudaDeviceSynchronize();
    EXPECT_EQ(taken(CUDASIM_RACE) != 0, !waits_for_both) << latest_report();
  }
}

TEST_F(Slab, AtomicsOfTwoStreamsAreNoRace) {
  scoped_stream a;
  scoped_stream b;
  buffer<int> ones(n);
  buffer<int> out(1);
  write_in(nullptr, ones.data());
  out.fill(0);
  cudaDeviceSynchronize();
  count_set<<<4, 256, 0, a>>>(ones.data(), n, out.data());
  count_set<<<4, 256, 0, b>>>(ones.data(), n, out.data());
  cudaDeviceSynchronize();
  EXPECT_EQ(out.get()[0], 2 * n);
  EXPECT_EQ(cudasim_untaken_reports(), 0u) << latest_report();
}

TEST_F(Slab, CopiesRaceToo) {
  scoped_stream a;
  scoped_stream b;
  buffer<int> block(n);
  buffer<int> other(n);
  cudaDeviceSynchronize();
  write_in(a, block.data());
  cudaMemcpyAsync(other.data(), block.data(), sizeof(int), cudaMemcpyDeviceToDevice, b);
  cudaDeviceSynchronize();
  EXPECT_EQ(taken(CUDASIM_RACE), 1u);
  EXPECT_NE(latest_report().find("cudaMemcpyAsync"), std::string::npos) << latest_report();
}

}  // namespace
