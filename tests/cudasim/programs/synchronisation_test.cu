// SPDX-License-Identifier: Apache-2.0
//
// Synchronisation within warps, blocks and grids, under divergence. Expected values are worked out
// on the host from what the operations promise.
#include "support.cuh"

#include <cuda/atomic>

#include <cooperative_groups.h>

#include <set>

#include <cooperative_groups/reduce.h>

namespace groups = cooperative_groups;

namespace {

// Halves of a warp run the same shuffle with masks of their own, after divergence.
__host__ __device__ int divergent_value(int t) {
  int value = t;
  if (t % 2 == 1) {
    for (int i = 0; i < t; ++i) {
      value += i;
    }
  } else {
    value *= 3;
  }
  return value;
}
__global__ void shuffle_halves(int* out) {
  const int t = threadIdx.x;
  const unsigned mask = t < 16 ? 0xffffu : 0xffff0000u;
  int value = divergent_value(t);
  for (int distance = 8; distance != 0; distance /= 2) {
    value += __shfl_xor_sync(mask, value, distance);
  }
  out[t] = value;
}

__global__ void sync_in_two_places(int* out) {
  __shared__ volatile int values[32];
  const int t = threadIdx.x;
  if (t < 10) {
    values[t] = t * 2;
    __syncwarp();
  } else {
    values[t] = t * 3;
    __syncwarp();
  }
  out[t] = values[31 - t];
}

__global__ void ballot_after_exit(unsigned* out) {
  const int t = threadIdx.x;
  if (t % 3 == 0) {
    return;
  }
  const unsigned ballot = __ballot_sync(__activemask(), t % 2);
  __syncthreads();
  out[t] = ballot;
}

__global__ void match_and_reduce(unsigned* out) {
  const int t = threadIdx.x;
  int all_same;
  out[t] = __match_any_sync(~0u, t % 5);
  out[32 + t] = __match_all_sync(~0u, t / 32, &all_same) & (all_same != 0 ? ~0u : 0u);
  out[64 + t] = __reduce_add_sync(~0u, t);
  out[96 + t] = __reduce_max_sync(~0u, t * 7 % 31);
}

// Two warps arrive, two warps wait.
__global__ void named_barrier(int* out) {
  __shared__ int values[64];
  if (threadIdx.x < 64) {
    values[threadIdx.x] = threadIdx.x * 5;
    __threadfence_block();
    asm volatile("bar.arrive 3, 128;" ::: "memory");
  } else {
    asm volatile("bar.sync 3, 128;" ::: "memory");
    out[threadIdx.x - 64] = values[threadIdx.x - 64];
  }
}

__global__ void count_votes(int* out) {
  const int t = threadIdx.x;
  const int count = __syncthreads_count(t % 7 == 0);
  const int any = __syncthreads_or(t == 5);
  const int all = __syncthreads_and(t < 100);
  out[t] = count * 100 + (any != 0) * 10 + (all != 0);
}

// Warps hand a turn round in shared memory, last warp first.
__global__ void take_turns(int* out) {
  __shared__ cuda::atomic<int, cuda::thread_scope_block> turn;
  if (threadIdx.x == 0) {
    turn.store(0);
  }
  __syncthreads();
  const int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) {
    while (turn.load(cuda::memory_order_acquire) != blockDim.x / 32 - 1 - warp) {
    }
    *out = *out * 10 + warp;
    turn.fetch_add(1, cuda::memory_order_release);
  }
}

// Odd-even transposition sort, each round by the whole grid.
__global__ void sort_by_grid(int* data, int n) {
  const groups::grid_group grid = groups::this_grid();
  const int i = grid.thread_rank();
  for (int round = 0; round < n; ++round) {
    const int k = 2 * i + (round & 1);
    if (k + 1 < n && data[k] > data[k + 1]) {
      const int larger = data[k];
      data[k] = data[k + 1];
      data[k + 1] = larger;
    }
    grid.sync();
  }
}

__global__ void tiles_and_coalesced(int* out) {
  const groups::thread_block block = groups::this_thread_block();
  const auto tile = groups::tiled_partition<8>(block);
  const int rank = block.thread_rank();
  int sum = groups::reduce(tile, rank, groups::plus<int>());
  if (rank % 2 == 1) {
    const groups::coalesced_group odd = groups::coalesced_threads();
    sum += odd.size() * 1000 + odd.thread_rank() * 100000 + odd.shfl(rank, 0);
  }
  out[rank] = sum;
}

constexpr int lists = 17;
__global__ void push_to_lists(int* heads, int* next, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    int old = heads[i % lists];
    do {
      next[i] = old;
      old = atomicCAS(&heads[i % lists], next[i], i);
    } while (old != next[i]);
  }
}

__global__ void insert_into_hash(unsigned* table, const unsigned* keys, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) {
    return;
  }
  const unsigned key = keys[i];
  for (unsigned slot = key * 2654435761u >> 24;; slot = (slot + 1) & 255) {
    const unsigned old = atomicCAS(&table[slot], 0u, key);
    if (old == 0 || old == key) {
      return;
    }
  }
}

TEST(Warp, ShufflesOfHalvesStayApart) {
  buffer<int> out(32);
  shuffle_halves<<<1, 32>>>(out.data());
  int sums[2] = {};
  for (int t = 0; t < 32; ++t) {
    sums[t / 16] += divergent_value(t);
  }
  const std::vector<int> got = out.get();
  for (int t = 0; t < 32; ++t) {
    EXPECT_EQ(got[t], sums[t / 16]) << t;
  }
}

TEST(Warp, SyncIsReachedInTwoPlaces) {
  buffer<int> out(32);
  sync_in_two_places<<<1, 32>>>(out.data());
  const std::vector<int> got = out.get();
  for (int t = 0; t < 32; ++t) {
    EXPECT_EQ(got[t], (31 - t) * (31 - t < 10 ? 2 : 3)) << t;
  }
}

TEST(Warp, ExitedLanesAreNotWaitedFor) {
  buffer<unsigned> out(64);
  out.fill(0);
  ballot_after_exit<<<1, 64>>>(out.data());
  const std::vector<unsigned> got = out.get();
  for (int t = 0; t < 64; ++t) {
    unsigned expected = 0;
    for (int lane = 0; lane < 32; ++lane) {
      const int other = t / 32 * 32 + lane;
      expected |= other % 3 != 0 && other % 2 == 1 ? 1u << lane : 0;
    }
    EXPECT_EQ(got[t], t % 3 == 0 ? 0 : expected) << t;
  }
}

TEST(Warp, MatchesAndReductions) {
  buffer<unsigned> out(128);
  match_and_reduce<<<1, 32>>>(out.data());
  const std::vector<unsigned> got = out.get();
  for (int t = 0; t < 32; ++t) {
    unsigned same = 0;
    for (int lane = 0; lane < 32; ++lane) {
      same |= lane % 5 == t % 5 ? 1u << lane : 0;
    }
    EXPECT_EQ(got[t], same) << t;
    EXPECT_EQ(got[32 + t], ~0u);
    EXPECT_EQ(got[64 + t], 496u);
    EXPECT_EQ(got[96 + t], 30u);
  }
}

TEST(Block, NamedBarriersCountArrivals) {
  buffer<int> out(64);
  named_barrier<<<1, 128>>>(out.data());
  const std::vector<int> got = out.get();
  for (int t = 0; t < 64; ++t) {
    EXPECT_EQ(got[t], t * 5);
  }
}

TEST(Block, BarriersReduceVotes) {
  buffer<int> out(100);
  count_votes<<<1, 100>>>(out.data());
  for (const int value : out.get()) {
    EXPECT_EQ(value, 15 * 100 + 10 + 1);
  }
}

TEST(Block, WarpsHandATurnRound) {
  buffer<int> out(1);
  out.fill(0);
  take_turns<<<1, 160>>>(out.data());
  EXPECT_EQ(out.get()[0], 43210);
}

TEST(Block, TilesAndCoalescedGroups) {
  buffer<int> out(64);
  tiles_and_coalesced<<<1, 64>>>(out.data());
  const std::vector<int> got = out.get();
  for (int t = 0; t < 64; ++t) {
    int expected = 8 * (t / 8 * 8) + 28;
    if (t % 2 == 1) {
      expected += 16 * 1000 + t % 32 / 2 * 100000 + t / 32 * 32 + 1;
    }
    EXPECT_EQ(got[t], expected) << t;
  }
}

TEST(Grid, CooperativeGridsSynchronise) {
  int n = 600;
  std::vector<int> values(n);
  for (int i = 0; i < n; ++i) {
    values[i] = i * 7919 % 601;
  }
  buffer<int> data(values);
  int* pointer = data.data();
  void* arguments[] = {&pointer, &n};
  expect_success(cudaLaunchCooperativeKernel((void*)sort_by_grid, 5, 64, arguments, 0, nullptr),
                 "cooperative launch");
  std::sort(values.begin(), values.end());
  EXPECT_EQ(data.get(), values);
  EXPECT_EQ(cudaLaunchCooperativeKernel((void*)sort_by_grid, 100000, 64, arguments, 0, nullptr),
            cudaErrorCooperativeLaunchTooLarge);
  cudaGetLastError();
}

TEST(Grid, ListsGrowByCompareAndSwap) {
  constexpr int n = 1000;
  buffer<int> heads(lists);
  buffer<int> next(n);
  heads.fill(0xff);
  push_to_lists<<<4, 256>>>(heads.data(), next.data(), n);
  const std::vector<int> first = heads.get();
  const std::vector<int> links = next.get();
  std::set<int> seen;
  for (int list = 0; list < lists; ++list) {
    for (int i = first[list]; i >= 0 && seen.insert(i).second; i = links[i]) {
      EXPECT_EQ(i % lists, list);
    }
  }
  EXPECT_EQ(seen.size(), n);
}

TEST(Grid, HashTablesTakeEachKeyOnce) {
  std::vector<unsigned> keys(1000);
  for (int i = 0; i < 1000; ++i) {
    keys[i] = i % 200 * 77 + 1;
  }
  buffer<unsigned> on_device(keys);
  buffer<unsigned> table(256);
  table.fill(0);
  insert_into_hash<<<8, 128>>>(table.data(), on_device.data(), 1000);
  const std::vector<unsigned> got = table.get();
  std::multiset<unsigned> found(got.begin(), got.end());
  found.erase(0);
  const std::set<unsigned> distinct(keys.begin(), keys.end());
  EXPECT_EQ(found, std::multiset<unsigned>(distinct.begin(), distinct.end()));
}

}  // namespace
