// SPDX-License-Identifier: Apache-2.0
//
// What a memory pool's kernels are made of, beyond what cub_test and thrust_test have: sorts in two
// buffers and of some bits, segments, histograms, the least. Against the standard library.
#include "support.cuh"

#include <cub/cub.cuh>
#include <thrust/device_vector.h>
#include <thrust/reduce.h>
#include <thrust/sort.h>

#include <cstdint>
#include <map>
#include <numeric>
#include <random>

namespace {

using u32 = std::uint32_t;
using u64 = unsigned long long;

template <class F>
void run(F algorithm) {
  std::size_t bytes = 0;
  expect_success(algorithm(nullptr, bytes), "size");
  buffer<char> scratch(bytes);
  expect_success(algorithm(scratch.data(), bytes), "run");
  expect_synchronised();
}

class Backend : public ::testing::TestWithParam<int> {
 protected:
  int n() const { return GetParam(); }
  template <class T>
  std::vector<T> random_values(u64 below) {
    std::vector<T> made(n());
    for (T& value : made) {
      value = static_cast<T>(random_() % below);
    }
    return made;
  }
  std::mt19937_64 random_{3};
};

// Pairs of wide keys whose results are in whichever buffer CUB chose.
TEST_P(Backend, SortsInTwoBuffers) {
  const std::vector<u64> keys = random_values<u64>(~0ull);
  std::vector<u32> order(n());
  std::iota(order.begin(), order.end(), 0u);
  buffer<u64> keys_a(keys);
  buffer<u64> keys_b(n());
  buffer<u32> values_a(order);
  buffer<u32> values_b(n());
  cub::DoubleBuffer<u64> both_keys(keys_a.data(), keys_b.data());
  cub::DoubleBuffer<u32> both_values(values_a.data(), values_b.data());
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortPairsDescending(scratch, bytes, both_keys, both_values, n());
  });
  std::stable_sort(order.begin(), order.end(), [&](u32 a, u32 b) { return keys[a] > keys[b]; });
  EXPECT_EQ(values_at(both_values.Current(), n()), order);
  std::vector<u64> sorted = keys;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  EXPECT_EQ(values_at(both_keys.Current(), n()), sorted);
}

TEST_P(Backend, SortsBySomeBits) {
  const std::vector<u32> keys = random_values<u32>(~0u);
  constexpr int low = 3;
  constexpr int high = 17;
  buffer<u32> in(keys);
  buffer<u32> out(n());
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortKeys(scratch, bytes, in.data(), out.data(), n(), low, high);
  });
  std::vector<u32> expected = keys;
  const auto part = [](u32 key) { return key >> low & ((1u << (high - low)) - 1); };
  std::stable_sort(expected.begin(), expected.end(),
                   [&](u32 a, u32 b) { return part(a) < part(b); });
  EXPECT_EQ(out.get(), expected);
}

// The best of each segment, as a choice of victims is.
TEST_P(Backend, SortsSegmentsOfPairs) {
  const std::vector<u32> keys = random_values<u32>(1000);
  std::vector<u32> order(n());
  std::iota(order.begin(), order.end(), 0u);
  std::vector<int> bounds{0};
  while (bounds.back() < n()) {
    bounds.push_back(std::min<int>(n(), bounds.back() + random_() % 200));
  }
  const int segments = static_cast<int>(bounds.size()) - 1;
  buffer<u32> keys_in(keys);
  buffer<u32> keys_out(n());
  buffer<u32> values_in(order);
  buffer<u32> values_out(n());
  buffer<int> limits(bounds);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceSegmentedSort::StableSortPairs(
        scratch, bytes, keys_in.data(), keys_out.data(), values_in.data(), values_out.data(), n(),
        segments, limits.data(), limits.data() + 1);
  });
  for (int i = 0; i < segments; ++i) {
    std::stable_sort(order.begin() + bounds[i], order.begin() + bounds[i + 1],
                     [&](u32 a, u32 b) { return keys[a] < keys[b]; });
  }
  EXPECT_EQ(values_out.get(), order);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceSegmentedRadixSort::SortPairs(scratch, bytes, keys_in.data(), keys_out.data(),
                                                    values_in.data(), values_out.data(), n(),
                                                    segments, limits.data(), limits.data() + 1);
  });
  EXPECT_EQ(values_out.get(), order);
}

TEST_P(Backend, ScansWithAnyOperator) {
  const std::vector<u32> values = random_values<u32>(~0u);
  buffer<u32> in(values);
  buffer<u32> out(n());
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceScan::InclusiveScan(scratch, bytes, in.data(), out.data(), cuda::maximum<>{},
                                          n());
  });
  std::vector<u32> expected(n());
  std::inclusive_scan(values.begin(), values.end(), expected.begin(),
                      [](u32 a, u32 b) { return std::max(a, b); });
  EXPECT_EQ(out.get(), expected);
}

TEST_P(Backend, FindsTheLeast) {
  const std::vector<u64> values = random_values<u64>(1u << 30);
  buffer<u64> in(values);
  buffer<u64> least(1);
  buffer<std::int64_t> where(1);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceReduce::ArgMin(scratch, bytes, in.data(), least.data(), where.data(), n());
  });
  const auto expected = std::min_element(values.begin(), values.end());
  EXPECT_EQ(least.get()[0], *expected);
  EXPECT_EQ(where.get()[0], expected - values.begin());
}

TEST_P(Backend, CountsInHistogramsOfRanges) {
  const std::vector<u32> samples = random_values<u32>(5000);
  const std::vector<u32> levels{0, 1, 10, 64, 100, 1000, 4999};
  buffer<u32> in(samples);
  buffer<u32> limits(levels);
  buffer<u32> out(levels.size() - 1);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceHistogram::HistogramRange(
        scratch, bytes, in.data(), out.data(), static_cast<int>(levels.size()), limits.data(), n());
  });
  std::vector<u32> expected(levels.size() - 1);
  for (const u32 sample : samples) {
    const auto above = std::upper_bound(levels.begin(), levels.end(), sample) - levels.begin();
    if (above < static_cast<std::ptrdiff_t>(levels.size())) {
      ++expected[above - 1];
    }
  }
  EXPECT_EQ(out.get(), expected);
  constexpr int bins = 2048;  // too many for privatised counts in shared memory
  std::vector<u32> wide(bins);
  for (const u32 sample : samples) {
    wide[std::min<u32>(bins - 1, sample * bins / 5000)] += 1;
  }
  buffer<u32> wide_out(bins);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceHistogram::HistogramEven(scratch, bytes, in.data(), wide_out.data(), bins + 1,
                                               0u, 5000u, n());
  });
  EXPECT_EQ(wide_out.get(), wide);
}

TEST_P(Backend, UpdatesByKeyWithThrust) {
  const std::vector<u32> keys = random_values<u32>(500);
  const std::vector<u32> weights = random_values<u32>(100);
  std::map<u32, u64> expected;
  for (int i = 0; i < n(); ++i) {
    expected[keys[i]] += weights[i];
  }
  thrust::device_vector<u32> device_keys(keys.begin(), keys.end());
  thrust::device_vector<u64> device_weights(weights.begin(), weights.end());
  thrust::sort_by_key(device_keys.begin(), device_keys.end(), device_weights.begin());
  thrust::device_vector<u32> distinct(n());
  thrust::device_vector<u64> sums(n());
  const auto ends = thrust::reduce_by_key(device_keys.begin(), device_keys.end(),
                                          device_weights.begin(), distinct.begin(), sums.begin());
  ASSERT_EQ(ends.first - distinct.begin(), static_cast<std::ptrdiff_t>(expected.size()));
  std::size_t i = 0;
  for (const auto& [key, sum] : expected) {
    ASSERT_EQ(distinct[i], key);
    ASSERT_EQ(sums[i], sum);
    if (++i == 20) {
      break;  // each element is a copy
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Backend, ::testing::Values(1, 33, 3000, 50000),
                         ::testing::PrintToStringParamName());

}  // namespace
