// SPDX-License-Identifier: Apache-2.0
//
// CUB's device-wide algorithms against the standard library: what our own kernels stand on. Sizes
// from nothing to a million (CUDASIM_TEST_LARGE=1).
#include "support.cuh"

#include <cub/cub.cuh>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>

namespace {

using u32 = std::uint32_t;
using u64 = unsigned long long;

// Calls an algorithm twice: for the size of its scratch memory, and to run.
template <class F>
void run(F algorithm) {
  std::size_t bytes = 0;
  expect_success(algorithm(nullptr, bytes), "size");
  buffer<char> scratch(bytes);
  expect_success(algorithm(scratch.data(), bytes), "run");
  expect_synchronised();
}

struct is_even {
  __host__ __device__ bool operator()(u32 x) const { return x % 2 == 0; }
};

class Cub : public ::testing::TestWithParam<int> {
 protected:
  Cub() : keys_(GetParam()), values_(GetParam()) {
    for (u32& key : keys_) {
      key = random_() % 5000;
    }
    std::iota(values_.begin(), values_.end(), 0u);
    sorted_ = keys_;
    std::sort(sorted_.begin(), sorted_.end());
    for (const u32 key : sorted_) {
      if (unique_.empty() || unique_.back() != key) {
        unique_.push_back(key);
        counts_.push_back(0);
      }
      ++counts_.back();
    }
  }
  int n() const { return static_cast<int>(keys_.size()); }

  template <class K>
  void sort_keys() {
    std::vector<K> keys(n());
    for (K& key : keys) {
      key = static_cast<K>(random_());
    }
    buffer<K> in(keys);
    buffer<K> out(n());
    run([&](void* scratch, std::size_t& bytes) {
      return cub::DeviceRadixSort::SortKeys(scratch, bytes, in.data(), out.data(), n());
    });
    std::sort(keys.begin(), keys.end());
    EXPECT_EQ(out.get(), keys);
  }

  std::mt19937_64 random_{1};
  std::vector<u32> keys_;
  std::vector<u32> values_;  // 0, 1, 2, ...
  std::vector<u32> sorted_;
  std::vector<u32> unique_;
  std::vector<u32> counts_;  // of each unique key
};

TEST_P(Cub, SortsKeys) {
  sort_keys<u32>();
  sort_keys<u64>();
  sort_keys<std::int16_t>();
}

TEST_P(Cub, SortsFloatsDescending) {
  std::vector<float> keys(n());
  for (float& key : keys) {
    key = static_cast<float>(static_cast<std::int64_t>(random_()));
  }
  buffer<float> in(keys);
  buffer<float> out(n());
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortKeysDescending(scratch, bytes, in.data(), out.data(), n());
  });
  std::sort(keys.begin(), keys.end(), std::greater<>());
  EXPECT_EQ(out.get(), keys);
}

TEST_P(Cub, SortsPairsStably) {
  buffer<u32> keys(keys_);
  buffer<u32> values(values_);
  buffer<u32> keys_out(n());
  buffer<u32> values_out(n());
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(scratch, bytes, keys.data(), keys_out.data(),
                                           values.data(), values_out.data(), n());
  });
  std::vector<u32> expected = values_;
  std::stable_sort(expected.begin(), expected.end(),
                   [&](u32 a, u32 b) { return keys_[a] < keys_[b]; });
  EXPECT_EQ(keys_out.get(), sorted_);
  EXPECT_EQ(values_out.get(), expected);
}

TEST_P(Cub, MergeSorts) {
  buffer<u32> keys(keys_);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceMergeSort::SortKeys(scratch, bytes, keys.data(), n(), cuda::std::less<>{});
  });
  EXPECT_EQ(keys.get(), sorted_);
}

TEST_P(Cub, EncodesRuns) {
  buffer<u32> in(sorted_);
  buffer<u32> keys(n());
  buffer<u32> lengths(n());
  buffer<int> count(1);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceRunLengthEncode::Encode(scratch, bytes, in.data(), keys.data(),
                                              lengths.data(), count.data(), n());
  });
  ASSERT_EQ(count.get()[0], unique_.size());
  EXPECT_EQ(keys.get(unique_.size()), unique_);
  EXPECT_EQ(lengths.get(unique_.size()), counts_);
}

TEST_P(Cub, FindsNonTrivialRuns) {
  buffer<u32> in(sorted_);
  buffer<int> offsets(n());
  buffer<int> lengths(n());
  buffer<int> count(1);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceRunLengthEncode::NonTrivialRuns(scratch, bytes, in.data(), offsets.data(),
                                                      lengths.data(), count.data(), n());
  });
  std::vector<int> expected_offsets;
  std::vector<int> expected_lengths;
  int at = 0;
  for (const u32 length : counts_) {
    if (length > 1) {
      expected_offsets.push_back(at);
      expected_lengths.push_back(length);
    }
    at += length;
  }
  ASSERT_EQ(count.get()[0], expected_offsets.size());
  EXPECT_EQ(offsets.get(expected_offsets.size()), expected_offsets);
  EXPECT_EQ(lengths.get(expected_lengths.size()), expected_lengths);
}

TEST_P(Cub, ReducesByKey) {
  buffer<u32> keys(sorted_);
  buffer<u32> values(values_);
  buffer<u32> keys_out(n());
  buffer<u32> sums(n());
  buffer<int> count(1);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceReduce::ReduceByKey(scratch, bytes, keys.data(), keys_out.data(),
                                          values.data(), sums.data(), count.data(),
                                          cuda::std::plus<>{}, n());
  });
  std::vector<u32> expected;
  std::size_t at = 0;
  for (const u32 length : counts_) {
    expected.push_back(std::accumulate(values_.begin() + at, values_.begin() + at + length, 0u));
    at += length;
  }
  ASSERT_EQ(count.get()[0], expected.size());
  EXPECT_EQ(keys_out.get(expected.size()), unique_);
  EXPECT_EQ(sums.get(expected.size()), expected);
}

TEST_P(Cub, Scans) {
  buffer<u32> in(keys_);
  buffer<u32> out(n());
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceScan::ExclusiveSum(scratch, bytes, in.data(), out.data(), n());
  });
  std::vector<u32> expected(n());
  std::exclusive_scan(keys_.begin(), keys_.end(), expected.begin(), 0u);
  EXPECT_EQ(out.get(), expected);
  const std::vector<u64> wide(keys_.begin(), keys_.end());
  buffer<u64> wide_in(wide);
  buffer<u64> wide_out(n());
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceScan::InclusiveSum(scratch, bytes, wide_in.data(), wide_out.data(), n());
  });
  std::vector<u64> wide_expected(n());
  std::inclusive_scan(wide.begin(), wide.end(), wide_expected.begin());
  EXPECT_EQ(wide_out.get(), wide_expected);
}

TEST_P(Cub, Reduces) {
  const std::vector<u64> wide(keys_.begin(), keys_.end());
  buffer<u64> in(wide);
  buffer<u64> out(1);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceReduce::Sum(scratch, bytes, in.data(), out.data(), n());
  });
  EXPECT_EQ(out.get()[0], std::accumulate(wide.begin(), wide.end(), u64{0}));
}

TEST_P(Cub, Selects) {
  buffer<u32> in(keys_);
  buffer<u32> out(n());
  buffer<int> count(1);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceSelect::If(scratch, bytes, in.data(), out.data(), count.data(), n(),
                                 is_even{});
  });
  std::vector<u32> even;
  std::copy_if(keys_.begin(), keys_.end(), std::back_inserter(even), is_even{});
  ASSERT_EQ(count.get()[0], even.size());
  EXPECT_EQ(out.get(even.size()), even);
  std::vector<char> flags(n());
  std::vector<u32> flagged;
  for (int i = 0; i < n(); ++i) {
    flags[i] = random_() % 2;
    if (flags[i] != 0) {
      flagged.push_back(keys_[i]);
    }
  }
  buffer<char> flags_in(flags);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceSelect::Flagged(scratch, bytes, in.data(), flags_in.data(), out.data(),
                                      count.data(), n());
  });
  ASSERT_EQ(count.get()[0], flagged.size());
  EXPECT_EQ(out.get(flagged.size()), flagged);
  in.set(sorted_);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceSelect::Unique(scratch, bytes, in.data(), out.data(), count.data(), n());
  });
  ASSERT_EQ(count.get()[0], unique_.size());
  EXPECT_EQ(out.get(unique_.size()), unique_);
}

TEST_P(Cub, CountsHistograms) {
  if (n() == 0) {
    GTEST_SKIP() << "CUB leaves the histogram of nothing as it is";
  }
  std::vector<u32> samples(n());
  std::vector<int> expected(16);
  for (u32& sample : samples) {
    sample = random_() % 16;
    ++expected[sample];
  }
  buffer<u32> in(samples);
  buffer<int> histogram(16);
  run([&](void* scratch, std::size_t& bytes) {
    return cub::DeviceHistogram::HistogramEven(scratch, bytes, in.data(), histogram.data(), 17, 0u,
                                               16u, n());
  });
  EXPECT_EQ(histogram.get(), expected);
}

// The shape of a batch of access updates: sort, encode, one plain update per distinct slot.
__global__ void apply(const u32* slots, const u32* counts, const int* n, u64* totals) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < *n) {
    totals[slots[i]] += counts[i];
  }
}
TEST_P(Cub, AppliesBatchesInOneStream) {
  if (n() == 0) {
    GTEST_SKIP() << "no launch without a key";
  }
  constexpr int batches = 3;
  scoped_stream stream;
  buffer<u32> in(keys_);
  buffer<u32> sorted(n());
  buffer<u32> slots(n());
  buffer<u32> counts(n());
  buffer<int> distinct(1);
  buffer<u64> totals(5000);
  totals.fill(0);
  expect_synchronised();
  std::size_t sort_bytes = 0;
  std::size_t encode_bytes = 0;
  cub::DeviceRadixSort::SortKeys(nullptr, sort_bytes, in.data(), sorted.data(), n(), 0, 32, stream);
  cub::DeviceRunLengthEncode::Encode(nullptr, encode_bytes, sorted.data(), slots.data(),
                                     counts.data(), distinct.data(), n(), stream);
  buffer<char> scratch(std::max(sort_bytes, encode_bytes));
  for (int batch = 0; batch < batches; ++batch) {
    cub::DeviceRadixSort::SortKeys(scratch.data(), sort_bytes, in.data(), sorted.data(), n(), 0, 32,
                                   stream);
    cub::DeviceRunLengthEncode::Encode(scratch.data(), encode_bytes, sorted.data(), slots.data(),
                                       counts.data(), distinct.data(), n(), stream);
    apply<<<(n() + 255) / 256, 256, 0, stream>>>(slots.data(), counts.data(), distinct.data(),
                                                 totals.data());
  }
  expect_success(cudaStreamSynchronize(stream), "synchronise");
  std::vector<u64> expected(5000);
  for (std::size_t i = 0; i != unique_.size(); ++i) {
    expected[unique_[i]] = u64{counts_[i]} * batches;
  }
  EXPECT_EQ(totals.get(), expected);
}

std::vector<int> sizes() {
  std::vector<int> chosen{0, 1, 31, 1000, 100000};
  if (std::getenv("CUDASIM_TEST_LARGE") != nullptr) {
    chosen.push_back(1000000);
  }
  return chosen;
}
INSTANTIATE_TEST_SUITE_P(Sizes, Cub, ::testing::ValuesIn(sizes()),
                         ::testing::PrintToStringParamName());

}  // namespace
