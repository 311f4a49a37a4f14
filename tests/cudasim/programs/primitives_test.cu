// SPDX-License-Identifier: Apache-2.0
//
// What kernels of one's own are made of: primitives of blocks and warps, and atomics of all kinds,
// scopes and orders. Against the standard library.
#include "support.cuh"

#include <cub/cub.cuh>
#include <cuda/atomic>

#include <cstdint>
#include <numeric>
#include <random>

namespace {

using u32 = std::uint32_t;
using u64 = unsigned long long;

constexpr int block = 128;
constexpr int items = 5;

__global__ void sort_pairs(u32* keys, u32* values, u64* sum) {
  using sorter = cub::BlockRadixSort<u32, block, items, u32>;
  using reducer = cub::BlockReduce<u64, block>;
  __shared__ union {
    typename sorter::TempStorage sort;
    typename reducer::TempStorage reduce;
  } scratch;
  u32 own_keys[items];
  u32 own_values[items];
  cub::LoadDirectStriped<block>(threadIdx.x, keys, own_keys);
  cub::LoadDirectStriped<block>(threadIdx.x, values, own_values);
  sorter(scratch.sort).SortBlockedToStriped(own_keys, own_values, 0, 10);
  __syncthreads();
  u64 own = 0;
  for (const u32 key : own_keys) {
    own += key;
  }
  own = reducer(scratch.reduce).Sum(own);
  cub::StoreDirectStriped<block>(threadIdx.x, keys, own_keys);
  cub::StoreDirectStriped<block>(threadIdx.x, values, own_values);
  if (threadIdx.x == 0) {
    *sum = own;
  }
}

std::vector<u32> block_keys() {
  std::mt19937 random(11);
  std::vector<u32> keys(block * items);
  for (u32& key : keys) {
    key = random() % 1024;
  }
  return keys;
}

TEST(Blocks, SortPairsAndReduce) {
  const std::vector<u32> keys = block_keys();
  std::vector<u32> order(keys.size());
  std::iota(order.begin(), order.end(), 0u);
  buffer<u32> device_keys(keys);
  buffer<u32> device_values(order);
  buffer<u64> sum(1);
  sort_pairs<<<1, block>>>(device_keys.data(), device_values.data(), sum.data());
  const std::vector<u32> got = device_keys.get();
  const std::vector<u32> places = device_values.get();
  EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
  for (std::size_t i = 0; i != got.size(); ++i) {
    ASSERT_EQ(keys[places[i]], got[i]) << i;
  }
  EXPECT_TRUE(std::is_permutation(places.begin(), places.end(), order.begin()));
  EXPECT_EQ(sum.get()[0], std::accumulate(keys.begin(), keys.end(), u64{0}));
}

template <cub::BlockHistogramAlgorithm Algorithm>
__global__ void count_in_block(const u32* keys, u32* counts, u32* sums) {
  using counter = cub::BlockHistogram<u32, block, items, 1024, Algorithm>;
  using scanner = cub::BlockScan<u32, block>;
  __shared__ typename counter::TempStorage scratch;
  __shared__ typename scanner::TempStorage scan_scratch;
  __shared__ u32 bins[1024];
  u32 own[items];
  cub::LoadDirectBlocked(threadIdx.x, keys, own);
  counter(scratch).Histogram(own, bins);
  __syncthreads();
  u32 part[8];
  for (int i = 0; i < 8; ++i) {
    part[i] = counts[threadIdx.x * 8 + i] = bins[threadIdx.x * 8 + i];
  }
  scanner(scan_scratch).InclusiveSum(part, part);
  for (int i = 0; i < 8; ++i) {
    sums[threadIdx.x * 8 + i] = part[i];
  }
}

TEST(Blocks, CountAndScan) {
  const std::vector<u32> keys = block_keys();
  std::vector<u32> expected(1024);
  for (const u32 key : keys) {
    ++expected[key];
  }
  std::vector<u32> expected_sums(1024);
  std::partial_sum(expected.begin(), expected.end(), expected_sums.begin());
  buffer<u32> in(keys);
  for (const bool sorts : {false, true}) {
    buffer<u32> counts(1024);
    buffer<u32> sums(1024);
    sorts
        ? count_in_block<cub::BLOCK_HISTO_SORT><<<1, block>>>(in.data(), counts.data(), sums.data())
        : count_in_block<cub::BLOCK_HISTO_ATOMIC>
        <<<1, block>>>(in.data(), counts.data(), sums.data());
    EXPECT_EQ(counts.get(), expected);
    EXPECT_EQ(sums.get(), expected_sums);
  }
}

// One atomic for all lanes of a warp that have the same key.
__global__ void count_by_warp(const u32* keys, int n, u32* counts, u64* total) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned active = __ballot_sync(~0u, i < n);
  if (i >= n) {
    return;
  }
  const u32 key = keys[i];
  const unsigned peers = __match_any_sync(active, key);
  const int lane = threadIdx.x % 32;
  if (lane == __ffs(peers) - 1) {
    atomicAdd(&counts[key], __popc(peers));
  }
  const unsigned sum = __reduce_add_sync(active, key);
  const unsigned most = __reduce_max_sync(active, key);
  const unsigned either = __reduce_or_sync(active, key);
  int all_equal = 0;
  const unsigned same = __match_all_sync(active, 7u, &all_equal);
  if (lane == 0 && most <= either && all_equal != 0 && same == active) {
    atomicAdd(total, static_cast<u64>(sum));
  }
}
TEST(Warps, MatchReduceAndCount) {
  constexpr int n = 5003;
  std::mt19937 random(5);
  std::vector<u32> keys(n);
  std::vector<u32> expected(40);
  u64 sum = 0;
  for (u32& key : keys) {
    key = random() % 40;
    ++expected[key];
    sum += key;
  }
  buffer<u32> in(keys);
  buffer<u32> counts(40);
  buffer<u64> total(1);
  counts.fill(0);
  total.fill(0);
  count_by_warp<<<(n + 255) / 256, 256>>>(in.data(), n, counts.data(), total.data());
  EXPECT_EQ(counts.get(), expected);
  EXPECT_EQ(total.get()[0], sum);
}

// What all threads together do to seven words, in memory of the block or of the device.
template <class T, cuda::thread_scope Scope>
__device__ void update_all(T* words, T i) {
  cuda::atomic_ref<T, Scope>(words[0]).fetch_add(i, cuda::memory_order_relaxed);
  cuda::atomic_ref<T, Scope>(words[1]).fetch_sub(1, cuda::memory_order_acq_rel);
  cuda::atomic_ref<T, Scope>(words[2]).fetch_max(i, cuda::memory_order_release);
  cuda::atomic_ref<T, Scope>(words[3]).fetch_min(i, cuda::memory_order_acquire);
  cuda::atomic_ref<T, Scope>(words[4]).fetch_or(T{1} << (i % 31), cuda::memory_order_seq_cst);
  cuda::atomic_ref<T, Scope>(words[5]).fetch_xor(i, cuda::memory_order_relaxed);
  const cuda::atomic_ref<T, Scope> sum(words[6]);
  T seen = sum.load(cuda::memory_order_relaxed);
  while (!sum.compare_exchange_weak(seen, seen + i, cuda::memory_order_acq_rel)) {
  }
}
template <class T, cuda::thread_scope Scope>
__global__ void update_global(T* words) {
  update_all<T, Scope>(words, blockIdx.x * blockDim.x + threadIdx.x);
}
template <class T>
__global__ void update_shared(T* words) {
  __shared__ T own[7];
  if (threadIdx.x < 7) {
    own[threadIdx.x] = threadIdx.x == 3 ? T{1000} : 0;
  }
  __syncthreads();
  update_all<T, cuda::thread_scope_block>(own, threadIdx.x);
  __syncthreads();
  if (threadIdx.x < 7) {
    words[threadIdx.x] = own[threadIdx.x];
  }
}
template <class T>
std::vector<T> expected_words(T n) {
  std::vector<T> made{0, 0, 0, 1000, 0, 0, 0};
  for (T i = 0; i != n; ++i) {
    made[0] += i;
    made[1] -= 1;
    made[2] = std::max(made[2], i);
    made[3] = std::min(made[3], i);
    made[4] |= T{1} << (i % 31);
    made[5] ^= i;
    made[6] += i;
  }
  return made;
}
template <class T, cuda::thread_scope Scope>
void test_global() {
  buffer<T> words(std::vector<T>{0, 0, 0, 1000, 0, 0, 0});
  update_global<T, Scope><<<6, 96>>>(words.data());
  EXPECT_EQ(words.get(), expected_words<T>(6 * 96));
}
TEST(Atomics, AllScopesAndOrders) {
  test_global<u32, cuda::thread_scope_device>();
  test_global<u64, cuda::thread_scope_device>();
  test_global<u32, cuda::thread_scope_system>();
  test_global<u64, cuda::thread_scope_system>();
}
TEST(Atomics, InSharedMemory) {
  buffer<u32> narrow(7);
  update_shared<<<1, 96>>>(narrow.data());
  EXPECT_EQ(narrow.get(), expected_words<u32>(96));
  buffer<u64> wide(7);
  update_shared<<<1, 96>>>(wide.data());
  EXPECT_EQ(wide.get(), expected_words<u64>(96));
}

__global__ void old_style(u32* words, u64* wide, int* integers, float* real, double* real_wide) {
  const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicInc(&words[0], 99);
  atomicDec(&words[1], 99);
  atomicAnd(&words[2], ~(1u << (i % 32)));
  atomicAdd_block(&words[3 + blockIdx.x], 1);
  atomicAdd_system(&wide[0], i);
  atomicMax(&wide[1], static_cast<u64>(i) << 33);
  atomicMin(&integers[0], -static_cast<int>(i));
  atomicMax(&integers[1], -static_cast<int>(i));
  atomicSub(&integers[2], 1);
  atomicAdd(&real[0], 1.0f);
  atomicAdd(&real_wide[0], 0.5);
  asm volatile("red.global.add.u32 [%0], %1;" ::"l"(&words[5]), "r"(2) : "memory");
  asm volatile("red.relaxed.gpu.global.or.b64 [%0], %1;" ::"l"(&wide[2]), "l"(1ull << (i % 64))
               : "memory");
}
TEST(Atomics, OfTheOldStyle) {
  buffer<u32> words(std::vector<u32>{0, 0, ~0u, 0, 0, 0});
  buffer<u64> wide(std::vector<u64>{0, 0, 0});
  buffer<int> integers(std::vector<int>{5, -1000, 0});
  buffer<float> real(std::vector<float>{0});
  buffer<double> real_wide(std::vector<double>{0});
  old_style<<<2, 75>>>(words.data(), wide.data(), integers.data(), real.data(), real_wide.data());
  EXPECT_EQ(words.get(), (std::vector<u32>{150 % 100, 50, 0, 75, 75, 300}));
  EXPECT_EQ(wide.get(), (std::vector<u64>{149 * 75, 149ull << 33, ~0ull}));
  EXPECT_EQ(integers.get(), (std::vector<int>{-149, 0, -150}));
  EXPECT_EQ(real.get()[0], 150.0f);
  EXPECT_EQ(real_wide.get()[0], 75.0);
}

// One block hands over to the next through memory: release and acquire by the device.
__global__ void hand_over(u32* data, u32* turn) {
  const cuda::atomic_ref<u32, cuda::thread_scope_device> flag(*turn);
  if (threadIdx.x == 0) {
    while (flag.load(cuda::memory_order_acquire) != blockIdx.x) {
    }
    data[blockIdx.x + 1] = data[blockIdx.x] * 3 + 1;
    flag.store(blockIdx.x + 1, cuda::memory_order_release);
  }
}
TEST(Atomics, BlocksHandOver) {
  buffer<u32> data(9);
  buffer<u32> turn(1);
  data.fill(0);
  turn.fill(0);
  hand_over<<<8, 32>>>(data.data(), turn.data());
  const std::vector<u32> got = data.get();
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(got[i + 1], got[i] * 3 + 1);
  }
}

}  // namespace
