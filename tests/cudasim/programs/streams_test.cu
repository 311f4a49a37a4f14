// SPDX-License-Identifier: Apache-2.0
//
// Streams, events, host functions and stream-ordered allocation that programs use rightly: in every
// schedule the results are right and nothing is reported. Host threads have streams of their own.
#include "support.cuh"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace {

__global__ void fill(std::uint32_t* p, int n, std::uint32_t value) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    p[i] = value + i;
  }
}
__global__ void count_wrong(const std::uint32_t* p, int n, std::uint32_t value, int* wrong) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    if (p[i] != value + i) {
      atomicAdd(wrong, 1);
    }
  }
}
__global__ void step(unsigned* p, int n, unsigned value) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    p[i] = p[i] * 3 + value;
  }
}

void count_call(void* calls) {
  ++*static_cast<std::atomic<int>*>(calls);
}

TEST(Streams, BlocksOfAPoolPassBetweenStreams) {
  cudaMemPool_t pool;
  expect_success(cudaDeviceGetDefaultMemPool(&pool, 0), "pool");
  std::uint64_t keep_all = ~0ull;
  expect_success(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_all), "keep");
  scoped_stream streams[4];
  buffer<int> wrong(1);
  wrong.fill(0);
  expect_synchronised();
  std::atomic<int> calls{0};
  for (int round = 0; round < 200; ++round) {
    const cudaStream_t owner = streams[round % 4];
    const cudaStream_t other = streams[(round * 7 + 1) % 4];
    const int n = 100 + round * 37;
    std::uint32_t* p = nullptr;
    expect_success(cudaMallocAsync(&p, n * sizeof *p, owner), "allocate");
    fill<<<4, 128, 0, owner>>>(p, n, round);
    scoped_event filled;
    scoped_event checked;
    cudaEventRecord(filled, owner);
    cudaStreamWaitEvent(other, filled, 0);
    count_wrong<<<3, 64, 0, other>>>(p, n, round, wrong.data());
    cudaEventRecord(checked, other);
    cudaStreamWaitEvent(owner, checked, 0);
    expect_success(cudaFreeAsync(p, owner), "free");
    expect_success(cudaLaunchHostFunc(owner, count_call, &calls), "host function");
  }
  for (const scoped_stream& each : streams) {
    expect_success(cudaStreamSynchronize(each), "synchronise");
  }
  EXPECT_EQ(wrong.get()[0], 0);
  EXPECT_EQ(calls.load(), 200);
  std::uint64_t used = 1;
  std::uint64_t reserved = 0;
  cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used);
  cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved);
  EXPECT_EQ(used, 0u);
  EXPECT_GT(reserved, 0u);
  cudaMemPoolTrimTo(pool, 0);
  cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved);
  EXPECT_EQ(reserved, 0u);
}

// Takes a second; it took minutes while each allocation looked at all free blocks.
TEST(Streams, ManyBlocksThatNobodyWaitsForAreServed) {
  scoped_stream streams[4];
  cudaMemPool_t pool;
  expect_success(cudaDeviceGetDefaultMemPool(&pool, 0), "pool");
  std::vector<std::pair<void*, int>> held;
  unsigned random = 1;
  for (int i = 0; i < 30000; ++i) {
    random = random * 1664525 + 1013904223;
    const int in = static_cast<int>(random >> 30);
    void* made = nullptr;
    expect_success(cudaMallocAsync(&made, 512 + (random >> 8) % 4096, streams[in]), "allocate");
    held.emplace_back(made, in);
    if (held.size() > 3000) {
      auto& gone = held[(random >> 4) % held.size()];
      expect_success(cudaFreeAsync(gone.first, streams[gone.second]), "free");
      gone = held.back();
      held.pop_back();
    }
  }
  for (const auto& [p, in] : held) {
    expect_success(cudaFreeAsync(p, streams[in]), "free");
  }
  expect_success(cudaDeviceSynchronize(), "synchronise");
  std::uint64_t used = 1;
  expect_success(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used), "used");
  EXPECT_EQ(used, 0u);
}

TEST(Streams, ThreadsHaveStreamsOfTheirOwn) {
  std::atomic<int> calls{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      scoped_stream stream;
      scoped_event done;
      unsigned* host = nullptr;
      expect_success(cudaMallocHost(&host, 4000), "pinned");
      for (unsigned round = 0; round < 60; ++round) {
        const int n = 10 + (round * 37 + t * 11) % 990;
        unsigned* p = nullptr;
        expect_success(cudaMallocAsync(&p, n * 4, stream), "allocate");
        expect_success(cudaMemsetAsync(p, 0, n * 4, stream), "fill");
        unsigned expected = 0;
        for (unsigned k = 0; k < 5; ++k) {
          step<<<(n + 63) / 64, 64, 0, stream>>>(p, n, t + k);
          expected = expected * 3 + t + k;
        }
        expect_success(cudaMemcpyAsync(host, p, n * 4, cudaMemcpyDeviceToHost, stream), "copy");
        expect_success(cudaFreeAsync(p, stream), "free");
        expect_success(cudaLaunchHostFunc(stream, count_call, &calls), "host function");
        cudaEventRecord(done, stream);
        if (round % 3 == 0) {
          cudaStreamSynchronize(stream);
        } else if (round % 3 == 1) {
          cudaEventSynchronize(done);
        } else {
          while (cudaEventQuery(done) == cudaErrorNotReady) {
            std::this_thread::yield();
          }
        }
        EXPECT_EQ(std::count(host, host + n, expected), n);
      }
      expect_success(cudaFreeHost(host), "pinned");
    });
  }
  for (std::thread& each : threads) {
    each.join();
  }
  EXPECT_EQ(calls.load(), 240);
}

// The legacy stream comes between what blocking streams do before and after.
TEST(Streams, TheLegacyStreamWaitsForBlockingStreams) {
  constexpr int n = 1000;
  scoped_stream a(cudaStreamDefault);
  scoped_stream b(cudaStreamDefault);
  buffer<std::uint32_t> data(n);
  buffer<int> wrong(1);
  wrong.fill(0);
  for (std::uint32_t round = 0; round < 10; ++round) {
    fill<<<4, 64, 0, a>>>(data.data(), n, round);
    count_wrong<<<4, 64>>>(data.data(), n, round, wrong.data());
    fill<<<4, 64, 0, b>>>(data.data(), n, 100 + round);
    count_wrong<<<4, 64>>>(data.data(), n, 100 + round, wrong.data());
  }
  EXPECT_EQ(wrong.get()[0], 0);
}

TEST(Streams, PinnedMemoryIsReadWhenTheCopyRuns) {
  scoped_stream stream;
  int* host = nullptr;
  expect_success(cudaMallocHost(&host, sizeof *host), "pinned");
  buffer<int> device(1);
  *host = 7;
  cudaMemcpyAsync(device.data(), host, sizeof *host, cudaMemcpyHostToDevice, stream);
  cudaStreamSynchronize(stream);
  *host = 8;
  EXPECT_EQ(device.get()[0], 7);
  int pageable = 5;
  cudaMemcpyAsync(device.data(), &pageable, sizeof pageable, cudaMemcpyHostToDevice, stream);
  pageable = 6;  // taken at the call already
  cudaStreamSynchronize(stream);
  EXPECT_EQ(device.get()[0], 5);
  expect_success(cudaFreeHost(host), "pinned");
}

TEST(Streams, PrioritiesFlagsAndIdsAreKept) {
  int least = 1;
  int greatest = 1;
  expect_success(cudaDeviceGetStreamPriorityRange(&least, &greatest), "range");
  EXPECT_EQ(least, 0);
  EXPECT_LT(greatest, 0);
  cudaStream_t stream;
  expect_success(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest), "create");
  int priority = 0;
  unsigned flags = 0;
  unsigned long long id = 0;
  unsigned long long legacy_id = 0;
  cudaStreamGetPriority(stream, &priority);
  cudaStreamGetFlags(stream, &flags);
  cudaStreamGetId(stream, &id);
  cudaStreamGetId(nullptr, &legacy_id);
  EXPECT_EQ(priority, greatest);
  EXPECT_EQ(flags, unsigned{cudaStreamNonBlocking});
  EXPECT_NE(id, legacy_id);
  expect_success(cudaStreamDestroy(stream), "destroy");
}

// More than the limit is never pending, so what came first has run when the last call returns.
TEST(Streams, AnEnqueueWaitsWhileTheQueueIsFull) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "cudasim only";
  }
  constexpr int limit = 16;
  cudasim_set_pending_limit(limit);
  buffer<int> written(1);
  scoped_stream stream;
  scoped_stream beside;
  scoped_event event;
  std::atomic<int> calls{0};
  const std::vector<std::function<cudaError_t()>> kinds{
      [&] { return cudaMemsetAsync(written.data(), 0, sizeof(int), stream); },
      [&] { return cudaEventRecord(event, stream); },
      [&] { return cudaStreamWaitEvent(stream, event, 0); },
      [&] {
        return cudaLaunchHostFunc(
            stream, [](void*) {}, nullptr);
      },
      [&] {
        step<<<1, 32, 0, stream>>>(reinterpret_cast<unsigned*>(written.data()), 1, 1);
        return cudaGetLastError();
      },
  };
  for (const auto& enqueue : kinds) {
    expect_synchronised();
    calls = 0;
    expect_success(cudaLaunchHostFunc(stream, count_call, &calls), "host function");
    expect_success(cudaLaunchHostFunc(beside, count_call, &calls), "beside");
    for (int i = 0; i < limit; ++i) {
      expect_success(enqueue(), "enqueue");
    }
    EXPECT_GE(calls, 1);
  }
  expect_synchronised();
  cudasim_set_pending_limit(1024);
}

// The host function at the head needs a lock, and only who waits for room can be in its way.
TEST(Streams, AHostFunctionAheadOfAFullQueueMayTakeALock) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "cudasim only";
  }
  cudasim_set_pending_limit(4);
  scoped_stream stream;
  std::mutex lock;
  int counted = 0;
  const auto enqueue_many = [&] {
    for (int i = 0; i < 100; ++i) {
      struct work {
        std::mutex* lock;
        int* counted;
      };
      const auto count = [](void* data) {
        const std::unique_ptr<work> own(static_cast<work*>(data));
        const std::lock_guard guard(*own->lock);
        ++*own->counted;
      };
      expect_success(cudaLaunchHostFunc(stream, count, new work{&lock, &counted}), "enqueue");
      const std::lock_guard guard(lock);
    }
  };
  std::thread other(enqueue_many);
  enqueue_many();
  other.join();
  expect_success(cudaStreamSynchronize(stream), "synchronise");
  EXPECT_EQ(counted, 200);
  cudasim_set_pending_limit(1024);
}

}  // namespace
