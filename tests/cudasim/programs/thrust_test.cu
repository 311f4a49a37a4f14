// SPDX-License-Identifier: Apache-2.0
//
// A wide sweep over Thrust and the rest of CUB, against the standard library: it finds PTX forms
// that nothing else uses.
#include "support.cuh"

#include <cub/cub.cuh>
#include <thrust/binary_search.h>
#include <thrust/device_vector.h>
#include <thrust/extrema.h>
#include <thrust/gather.h>
#include <thrust/host_vector.h>
#include <thrust/inner_product.h>
#include <thrust/partition.h>
#include <thrust/scan.h>
#include <thrust/sequence.h>
#include <thrust/set_operations.h>
#include <thrust/sort.h>
#include <thrust/transform_reduce.h>
#include <thrust/unique.h>

#include <numeric>
#include <random>

namespace {

using u32 = unsigned;
using device_vector = thrust::device_vector<u32>;

template <class T>
T* pointer(thrust::device_vector<T>& of) {
  return thrust::raw_pointer_cast(of.data());
}
std::vector<u32> on_host(const device_vector& of) {
  const thrust::host_vector<u32> copied = of;
  return {copied.begin(), copied.end()};
}
template <class F>
void run(F algorithm) {
  std::size_t bytes = 0;
  expect_success(algorithm(nullptr, bytes), "size");
  thrust::device_vector<char> scratch(bytes + 1);
  expect_success(algorithm(pointer(scratch), bytes), "run");
  expect_synchronised();
}

struct is_multiple {
  u32 of;
  __host__ __device__ bool operator()(u32 x) const { return x % of == 0; }
};
struct square {
  __host__ __device__ double operator()(u32 x) const { return double(x) * x; }
};
struct affine {
  __host__ __device__ u32 operator()(u32 x) const { return x * 3 + 1; }
};

class Thrust : public ::testing::TestWithParam<int> {
 protected:
  Thrust() : keys_(GetParam()), values_(GetParam()) {
    std::mt19937 random(5);
    for (u32& key : keys_) {
      key = random() % 1000;
    }
    std::iota(values_.begin(), values_.end(), 0u);
    sorted_ = keys_;
    std::sort(sorted_.begin(), sorted_.end());
    unique_ = sorted_;
    unique_.erase(std::unique(unique_.begin(), unique_.end()), unique_.end());
    device_.assign(keys_.begin(), keys_.end());
  }
  int n() const { return GetParam(); }

  std::vector<u32> keys_;
  std::vector<u32> values_;
  std::vector<u32> sorted_;
  std::vector<u32> unique_;
  device_vector device_;
};

TEST_P(Thrust, SortsAndReduces) {
  device_vector copy = device_;
  thrust::sort(copy.begin(), copy.end());
  EXPECT_EQ(on_host(copy), sorted_);
  EXPECT_EQ(thrust::reduce(device_.begin(), device_.end(), 0u),
            std::accumulate(keys_.begin(), keys_.end(), 0u));
  thrust::transform(device_.begin(), device_.end(), copy.begin(), affine{});
  std::vector<u32> expected(n());
  std::transform(keys_.begin(), keys_.end(), expected.begin(), affine{});
  EXPECT_EQ(on_host(copy), expected);
}

TEST_P(Thrust, SortsByKeyAndKeepsUnique) {
  device_vector keys = device_;
  device_vector values(values_.begin(), values_.end());
  thrust::stable_sort_by_key(keys.begin(), keys.end(), values.begin(), thrust::greater<u32>());
  keys.erase(thrust::unique(keys.begin(), keys.end()), keys.end());
  EXPECT_EQ(on_host(keys), std::vector<u32>(unique_.rbegin(), unique_.rend()));
}

TEST_P(Thrust, TransformsAndScans) {
  double expected = 0;
  for (const u32 key : keys_) {
    expected += double(key) * key;
  }
  EXPECT_EQ(thrust::transform_reduce(device_.begin(), device_.end(), square{}, 0.0,
                                     thrust::plus<double>()),
            expected);
  device_vector sequence(n());
  thrust::sequence(sequence.begin(), sequence.end());
  thrust::exclusive_scan(sequence.begin(), sequence.end(), sequence.begin(), 7u);
  EXPECT_EQ(sequence[n() - 1], static_cast<u32>((n() - 1ll) * (n() - 2ll) / 2 + 7));
}

TEST_P(Thrust, IntersectsAndSearches) {
  const device_vector sorted(sorted_.begin(), sorted_.end());
  const device_vector values(values_.begin(), values_.end());
  device_vector out(n());
  out.resize(thrust::set_intersection(sorted.begin(), sorted.end(), values.begin(), values.end(),
                                      out.begin()) -
             out.begin());
  std::vector<u32> expected;
  std::set_intersection(sorted_.begin(), sorted_.end(), values_.begin(), values_.end(),
                        std::back_inserter(expected));
  EXPECT_EQ(on_host(out), expected);
  out.resize(n());
  thrust::lower_bound(sorted.begin(), sorted.end(), device_.begin(), device_.end(), out.begin());
  for (int i = 0; i < n(); ++i) {
    expected.resize(n());
    expected[i] = std::lower_bound(sorted_.begin(), sorted_.end(), keys_[i]) - sorted_.begin();
  }
  EXPECT_EQ(on_host(out), expected);
}

TEST_P(Thrust, PartitionsAndFindsExtremes) {
  device_vector copy = device_;
  const auto middle = thrust::stable_partition(copy.begin(), copy.end(), is_multiple{2});
  std::vector<u32> expected = keys_;
  std::stable_partition(expected.begin(), expected.end(), is_multiple{2});
  EXPECT_EQ(middle - copy.begin(), std::count_if(keys_.begin(), keys_.end(), is_multiple{2}));
  EXPECT_EQ(on_host(copy), expected);
  const auto extremes = thrust::minmax_element(device_.begin(), device_.end());
  EXPECT_EQ(*extremes.first, sorted_.front());
  EXPECT_EQ(*extremes.second, sorted_.back());
}

TEST_P(Thrust, GathersAndCopies) {
  const std::vector<u32> backwards(values_.rbegin(), values_.rend());
  const device_vector indices(backwards.begin(), backwards.end());
  device_vector out(n());
  thrust::gather(indices.begin(), indices.end(), device_.begin(), out.begin());
  EXPECT_EQ(on_host(out), std::vector<u32>(keys_.rbegin(), keys_.rend()));
  out.resize(thrust::copy_if(device_.begin(), device_.end(), out.begin(), is_multiple{5}) -
             out.begin());
  std::vector<u32> expected;
  std::copy_if(keys_.begin(), keys_.end(), std::back_inserter(expected), is_multiple{5});
  EXPECT_EQ(on_host(out), expected);
  const thrust::device_vector<float> halves(n(), 0.5f);
  const thrust::device_vector<float> twos(n(), 2.0f);
  EXPECT_EQ(thrust::inner_product(halves.begin(), halves.end(), twos.begin(), 0.0f), float(n()));
}

TEST_P(Thrust, SegmentsAreReducedAndSorted) {
  constexpr int length = 10;
  const int segments = (n() + length - 1) / length;
  std::vector<int> offsets(segments + 1);
  for (int i = 0; i <= segments; ++i) {
    offsets[i] = std::min(n(), i * length);
  }
  thrust::device_vector<int> device_offsets(offsets.begin(), offsets.end());
  const int* const begin = pointer(device_offsets);
  device_vector sums(segments);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceSegmentedReduce::Sum(scratch, bytes, pointer(device_), pointer(sums),
                                           segments, begin, begin + 1);
  });
  std::vector<u32> expected_sums(segments);
  std::vector<u32> expected = keys_;
  for (int i = 0; i < segments; ++i) {
    const auto from = expected.begin() + offsets[i];
    const auto to = expected.begin() + offsets[i + 1];
    expected_sums[i] = std::accumulate(from, to, 0u);
    std::sort(from, to);
  }
  EXPECT_EQ(on_host(sums), expected_sums);
  if (n() > 5000) {
    return;  // segmented sort is slow here
  }
  device_vector sorted(n());
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceSegmentedSort::SortKeys(scratch, bytes, pointer(device_), pointer(sorted),
                                              n(), segments, begin, begin + 1);
  });
  EXPECT_EQ(on_host(sorted), expected);
}

TEST_P(Thrust, OtherDeviceAlgorithms) {
  device_vector out(n());
  device_vector least(1);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceReduce::Min(scratch, bytes, pointer(device_), pointer(least), n());
  });
  EXPECT_EQ(least[0], sorted_.front());
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceAdjacentDifference::SubtractLeftCopy(scratch, bytes, pointer(device_),
                                                           pointer(out), n());
  });
  std::vector<u32> expected(n());
  std::adjacent_difference(keys_.begin(), keys_.end(), expected.begin());
  EXPECT_EQ(on_host(out), expected);
  device_vector sorted(sorted_.begin(), sorted_.end());
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceScan::InclusiveSumByKey(scratch, bytes, pointer(sorted), pointer(device_),
                                              pointer(out), n());
  });
  u32 sum = 0;
  for (int i = 0; i < n(); ++i) {
    sum = i != 0 && sorted_[i] == sorted_[i - 1] ? sum + keys_[i] : keys_[i];
    expected[i] = sum;
  }
  EXPECT_EQ(on_host(out), expected);
  u32* const data = pointer(out);
  expect_success(cub::DeviceFor::Bulk(n(), [data] __device__(int i) { data[i] = i * 2; }), "bulk");
  expect_synchronised();
  EXPECT_EQ(out[n() - 1], static_cast<u32>(n() - 1) * 2);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Thrust, ::testing::Values(1, 33, 5000, 70000),
                         ::testing::PrintToStringParamName());

template <int Items>
__global__ void sort_blocks(u32* data) {
  using sorter = cub::BlockRadixSort<u32, 128, Items>;
  __shared__ typename sorter::TempStorage scratch;
  u32 keys[Items];
  u32* const mine = data + blockIdx.x * 128 * Items;
  cub::LoadDirectBlocked(threadIdx.x, mine, keys);
  sorter(scratch).Sort(keys);
  cub::StoreDirectBlocked(threadIdx.x, mine, keys);
}
TEST(CubBlocks, BlocksSort) {
  std::mt19937 random(7);
  std::vector<u32> keys(128 * 7 * 3);
  for (u32& key : keys) {
    key = random();
  }
  buffer<u32> device(keys);
  sort_blocks<7><<<3, 128>>>(device.data());
  for (int block = 0; block < 3; ++block) {
    std::sort(keys.begin() + block * 896, keys.begin() + (block + 1) * 896);
  }
  EXPECT_EQ(device.get(), keys);
}

__global__ void scan_warps(u32* data) {
  using scanner = cub::WarpScan<u32>;
  __shared__ scanner::TempStorage scratch[4];
  u32 value = data[threadIdx.x];
  scanner(scratch[threadIdx.x / 32]).InclusiveSum(value, value);
  data[threadIdx.x] = value;
}
TEST(CubBlocks, WarpsScan) {
  buffer<u32> device(std::vector<u32>(128, 1));
  scan_warps<<<1, 128>>>(device.data());
  const std::vector<u32> got = device.get();
  for (u32 i = 0; i < 128; ++i) {
    EXPECT_EQ(got[i], i % 32 + 1);
  }
}

}  // namespace
