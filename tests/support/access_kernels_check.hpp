// SPDX-License-Identifier: Apache-2.0
//
// What every implementation of access kernels has to equal, bit by bit: the plain loops here.
#pragma once

#include <tidepool/access_record.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace tidepool::test {

class access_kernels_check {
 public:
  access_kernels_check(const access_kernels& tested, std::uint64_t seed)
      : tested_(tested), random_(seed) {}

  void run() {
    for (int i = 0; i < 300 && !::testing::Test::HasFailure(); ++i) {
      narrow(tested_.narrow_32);
      narrow(tested_.narrow_64);
      count(tested_.count_32);
      count(tested_.count_64);
      steps();
      known_steps();
    }
  }

 private:
  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  template <class Id>
  void narrow(std::size_t (*kernel)(const Id*, std::size_t, access_range, std::uint32_t*,
                                    access_tally*)) {
    constexpr std::array<std::uint64_t, 8> extents{0,          1,          7,          1000,
                                                   0x7fffffff, 0x80000000, 0x80000001, 0xffffffc0};
    access_range range{.extent = extents[below(extents.size())], .base = 0};
    range.base = below(2) == 0 ? 0 : below(0xffffffffU - range.extent + 1);
    const std::size_t n = below(200);
    std::vector<Id> ids(n);
    for (Id& id : ids) {
      switch (below(8)) {
      case 0:
        id = -1;
        break;
      case 1:
        id = static_cast<Id>(random_());
        break;
      case 2:
        id = static_cast<Id>(range.extent);
        break;
      case 3:
        id = static_cast<Id>(std::uint64_t{0xffffffff} + below(3));
        break;
      default:
        id = static_cast<Id>(below(std::max<std::uint64_t>(range.extent, 1)));
        break;
      }
      if (n % 3 == 0 && range.extent != 0) {  // all valid
        id = static_cast<Id>(below(std::min<std::uint64_t>(range.extent, 0x7fffffff)));
      }
    }
    std::vector<std::uint32_t> expected;
    access_tally lost{};
    for (const Id id : ids) {
      if (id >= 0 && static_cast<std::uint64_t>(id) < range.extent) {
        expected.push_back(static_cast<std::uint32_t>(static_cast<std::uint64_t>(id) + range.base));
      } else {
        ++(id == -1 ? lost.padding : lost.out_of_range);
      }
    }
    std::vector<std::uint32_t> out(n + 16);
    access_tally left_out{};
    out.resize(kernel(ids.data(), n, range, out.data(), &left_out));
    EXPECT_EQ(out, expected) << tested_.name << ", extent " << range.extent;
    EXPECT_EQ(left_out.padding, lost.padding);
    EXPECT_EQ(left_out.out_of_range, lost.out_of_range);
  }

  template <class Id>
  void count(std::size_t (*kernel)(std::uint32_t*, const Id*, std::size_t, access_range,
                                   access_tally*)) {
    const access_range range{.extent = below(50), .base = below(20)};
    std::vector<Id> ids(below(200));
    const bool all_valid = range.extent != 0 && ids.size() % 3 == 0;
    for (Id& id : ids) {
      id = static_cast<Id>(below(all_valid ? range.extent : 60)) - (all_valid ? 0 : 2);
    }
    std::vector<std::uint32_t> expected(70);
    access_tally lost{};
    std::size_t valid = 0;
    for (const Id id : ids) {
      if (id >= 0 && static_cast<std::uint64_t>(id) < range.extent) {
        ++expected[range.base + static_cast<std::uint64_t>(id)];
        ++valid;
      } else {
        ++(id == -1 ? lost.padding : lost.out_of_range);
      }
    }
    std::vector<std::uint32_t> bins(70);
    access_tally left_out{};
    EXPECT_EQ(kernel(bins.data(), ids.data(), ids.size(), range, &left_out), valid);
    EXPECT_EQ(bins, expected) << tested_.name;
    EXPECT_EQ(left_out.padding, lost.padding);
    EXPECT_EQ(left_out.out_of_range, lost.out_of_range);
  }

  std::vector<access_record> some_records(std::size_t n) {
    std::vector<access_record> records(n);
    for (access_record& r : records) {
      r = {.count = random_() >> 2,
           .tick = below(2) == 0 ? random_() : below(100),
           .score = random_() >> 2,
           .generation = below(4) == 0 ? 0 : static_cast<std::uint32_t>(random_()) | 1,
           .attributes = static_cast<std::uint32_t>(random_())};
    }
    return records;
  }
  static void expect_equal(const std::vector<access_record>& a,
                           const std::vector<access_record>& b) {
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(access_record)), 0);
  }

  void steps() {
    const std::size_t size = 1 + below(70);
    std::vector<access_record> records = some_records(size);
    std::vector<access_record> expected = records;
    const access_step step{.weight = below(2) == 0 ? 1 : random_() >> 40,
                           .gain = below(2) == 0 ? 0 : random_() >> 20,
                           .tick = below(2) == 0 ? random_() : below(100)};
    const std::size_t n = below(500);
    std::vector<std::uint32_t> indices(n + access_lookahead);
    for (auto& index : indices) {
      index = static_cast<std::uint32_t>(below(size));
    }
    std::vector<std::uint32_t> bins(size);
    std::size_t missed = 0;
    for (std::size_t i = 0; i < n; ++i) {
      access_record& r = expected[indices[i]];
      ++bins[indices[i]];
      if (r.generation == 0) {
        ++missed;
        continue;
      }
      r.count += step.weight;
      r.score += step.gain;
      r.tick = std::max(r.tick, step.tick);
    }
    std::vector<access_record> merged = records;
    EXPECT_EQ(tested_.apply(records.data(), indices.data(), n, step, below(2) == 0), missed);
    expect_equal(records, expected);
    EXPECT_EQ(tested_.merge(merged.data(), bins.data(), size, step), missed);
    expect_equal(merged, expected);
    EXPECT_EQ(bins, std::vector<std::uint32_t>(size));
  }

  // Indices of tensors: with the generations they were given for, some of which have passed.
  void known_steps() {
    const std::size_t size = 1 + below(70);
    constexpr std::uint32_t without = 1U << 24;
    std::vector<access_record> records = some_records(size);
    for (access_record& r : records) {
      r.attributes &= below(4) == 0 ? ~0U : ~without;
    }
    std::vector<access_record> expected = records;
    const access_step step{.weight = 1 + below(3), .gain = random_() >> 20, .tick = random_()};
    const std::size_t n = below(500);
    std::vector<std::uint32_t> indices(n + access_lookahead);
    std::vector<std::uint32_t> generations(n);
    std::vector<std::uint32_t> others;
    for (std::size_t i = 0; i < n; ++i) {
      indices[i] = static_cast<std::uint32_t>(below(size));
      access_record& r = expected[indices[i]];
      generations[i] = r.generation ^ static_cast<std::uint32_t>(below(5) == 0 ? below(4) : 0);
      if (r.generation == 0 || r.generation != generations[i] || (r.attributes & without) != 0) {
        others.push_back(static_cast<std::uint32_t>(i));
        continue;
      }
      r.count += step.weight;
      r.score += step.gain;
      r.tick = std::max(r.tick, step.tick);
    }
    std::vector<std::uint32_t> missed(n);
    missed.resize(tested_.apply_known(records.data(), indices.data(), generations.data(), n, step,
                                      without, missed.data()));
    EXPECT_EQ(missed, others) << tested_.name;
    expect_equal(records, expected);
  }

  const access_kernels& tested_;
  std::mt19937_64 random_;
};

inline void check_access_kernels(const access_kernels& tested) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(std::string(tested.name) + ", seed " + std::to_string(seed));
    access_kernels_check(tested, seed).run();
  }
}

}  // namespace tidepool::test
