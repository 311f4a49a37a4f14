// SPDX-License-Identifier: Apache-2.0
//
// page_bits against the same questions answered bit by bit, over random words and ranges.
#include "page_bits.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <vector>

namespace tidepool::cpu {
namespace {

constexpr std::uint32_t bit_count = 320;

/// The same questions answered bit by bit.
struct slow_bits {
  std::vector<bool> bits = std::vector<bool>(bit_count);

  std::uint32_t count(page_range r) const {
    return static_cast<std::uint32_t>(
        std::count(bits.begin() + r.first, bits.begin() + r.first + r.count, true));
  }
  page_range first_run(page_range r) const {
    const std::uint32_t end = r.first + r.count;
    std::uint32_t from = r.first;
    while (from != end && !bits[from]) {
      ++from;
    }
    std::uint32_t to = from;
    while (to != end && bits[to]) {
      ++to;
    }
    return {from, to - from};
  }
  std::uint32_t longest_run(page_range r) const {
    std::uint32_t longest = 0;
    std::uint32_t run = 0;
    for (std::uint32_t i = r.first; i != r.first + r.count; ++i) {
      run = bits[i] ? run + 1 : 0;
      longest = std::max(longest, run);
    }
    return longest;
  }
  page_range last_set(page_range r, std::uint32_t n) const {
    std::uint32_t low = r.first;
    std::uint32_t high = r.first;
    for (std::uint32_t i = r.first + r.count; i != r.first && n != 0; --i) {
      if (bits[i - 1]) {
        high = high == r.first ? i : high;
        low = i - 1;
        --n;
      }
    }
    return {high == r.first ? r.first : low, high == r.first ? 0 : high - low};
  }
};

TEST(PageBits, AgreeWithTheirDefinition) {
  std::mt19937 engine(7);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(engine() % n); };
  for (int round = 0; round != 400; ++round) {
    std::array<std::uint64_t, bit_count / 64> words{};
    page_bits fast(words.data());
    slow_bits slow;
    for (int i = 0; i != 12; ++i) {
      const std::uint32_t first = below(bit_count);
      const page_range r{first, below(bit_count - first + 1)};
      const bool value = below(2) == 0;
      value ? fast.set(r) : fast.clear(r);
      std::fill_n(slow.bits.begin() + r.first, r.count, value);
      for (std::uint32_t bit = 0; bit != bit_count; ++bit) {
        ASSERT_EQ((words[bit / 64] >> (bit % 64) & 1U) != 0, slow.bits[bit]);
      }
      const std::uint32_t from = below(bit_count);
      const page_range q{from, below(bit_count - from + 1)};
      ASSERT_EQ(fast.count(q), slow.count(q));
      ASSERT_EQ(fast.longest_run(q), slow.longest_run(q));
      ASSERT_EQ(fast.first_run(q).count, slow.first_run(q).count);
      if (slow.first_run(q).count != 0) {
        ASSERT_EQ(fast.first_run(q).first, slow.first_run(q).first);
      }
      const std::uint32_t n = 1 + below(100);
      ASSERT_EQ(fast.last_set(q, n).count, slow.last_set(q, n).count);
      ASSERT_EQ(fast.last_set(q, n).first, slow.last_set(q, n).first);
    }
  }
}

}  // namespace
}  // namespace tidepool::cpu
