// SPDX-License-Identifier: Apache-2.0
//
// The generated streams: the same everywhere, within their bounds, and as skewed, sticky and
// changing as they say.
#include "streams/streams.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

namespace tidepool::bench::streams {
namespace {

std::uint64_t hash_of(std::span<const std::int32_t> values) {
  std::uint64_t hash = 1469598103934665603ULL;
  for (const std::int32_t value : values) {
    hash = (hash ^ static_cast<std::uint32_t>(value)) * 1099511628211ULL;
  }
  return hash;
}

std::vector<double> counts_of(std::span<const std::int32_t> values, std::size_t size) {
  std::vector<double> counts(size);
  for (const std::int32_t value : values) {
    counts.at(static_cast<std::size_t>(value)) += 1;
  }
  return counts;
}

TEST(Streams, AreTheSameForTheSameSeedAndOthersForOthers) {
  EXPECT_EQ(hash_of(uniform_indices(1000, 77, 5)), hash_of(uniform_indices(1000, 77, 5)));
  EXPECT_NE(hash_of(uniform_indices(1000, 77, 5)), hash_of(uniform_indices(1000, 77, 6)));
  EXPECT_EQ(hash_of(zipf_indices(1000, 77, 1.0, 5)), hash_of(zipf_indices(1000, 77, 1.0, 5)));
  moe_stream a({.seed = 9});
  moe_stream b({.seed = 9});
  kv_stream c({.seed = 9});
  kv_stream d({.seed = 9});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(hash_of(a.next().experts), hash_of(b.next().experts));
    EXPECT_EQ(hash_of(c.next()), hash_of(d.next()));
  }
}

TEST(Streams, ZipfsLawHolds) {
  for (const double exponent : {0.6, 1.0, 1.4}) {
    generator random(3);
    const zipf ranks(100, exponent);
    std::vector<double> counts(100);
    constexpr int n = 200'000;
    for (int i = 0; i < n; ++i) {
      counts.at(ranks(random)) += 1;
    }
    double sum = 0;
    for (int r = 1; r <= 100; ++r) {
      sum += std::pow(r, -exponent);
    }
    for (const std::size_t rank : {0U, 1U, 9U, 99U}) {
      const double expected = n * std::pow(static_cast<double>(rank + 1), -exponent) / sum;
      EXPECT_NEAR(counts[rank], expected, 6 * std::sqrt(expected)) << exponent << ", " << rank;
    }
  }
}

TEST(Streams, ExpertsOfATokenAreDistinctAndOfTheirLayer) {
  moe_stream stream({.shape = moe_models[0], .batch = 5, .prefill_every = 3, .prefill_tokens = 40});
  for (int s = 1; s <= 6; ++s) {
    const moe_stream::step step = stream.next();
    EXPECT_EQ(step.is_prefill, s % 3 == 0);
    EXPECT_EQ(step.tokens, s % 3 == 0 ? 40U : 5U);
    ASSERT_EQ(step.experts.size(), std::size_t{36} * step.tokens * 4);
    for (std::size_t i = 0; i < step.experts.size(); i += 4) {
      const auto row = step.experts.subspan(i, 4);
      EXPECT_EQ(std::set<std::int32_t>(row.begin(), row.end()).size(), 4U);
      EXPECT_GE(*std::min_element(row.begin(), row.end()), 0);
      EXPECT_LT(*std::max_element(row.begin(), row.end()), 128);
    }
  }
}

// The share of choices that are also the ones of the step before, in the same place.
double share_kept(double keeps) {
  moe_stream stream({.shape = {"", 2, 512, 4}, .batch = 64, .keeps = keeps, .phase_steps = 0});
  const moe_stream::step first = stream.next();
  const std::vector<std::int32_t> before(first.experts.begin(), first.experts.end());
  const moe_stream::step second = stream.next();
  std::size_t same = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    same += before[i] == second.experts[i] ? 1 : 0;
  }
  return static_cast<double>(same) / static_cast<double>(before.size());
}

TEST(Streams, TokensKeepTheirExperts) {
  EXPECT_LT(share_kept(0), 0.1);
  EXPECT_GT(share_kept(0.7), 0.6);
}

TEST(Streams, PhasesChangeTheHotSetAndLayersDiffer) {
  moe_stream stream(
      {.shape = {"", 2, 64, 1}, .batch = 2000, .exponent = 1.2, .keeps = 0, .phase_steps = 2});
  const auto hottest = [](std::span<const std::int32_t> experts) {
    std::vector<double> counts = counts_of(experts, 64);
    std::set<std::size_t> hot;
    for (int i = 0; i < 16; ++i) {
      const auto best = std::max_element(counts.begin(), counts.end());
      hot.insert(static_cast<std::size_t>(best - counts.begin()));
      *best = -1;
    }
    return hot;
  };
  const auto common = [](const std::set<std::size_t>& a, const std::set<std::size_t>& b) {
    return std::count_if(a.begin(), a.end(), [&](std::size_t i) { return b.count(i) != 0; });
  };
  const auto one = stream.next().experts;
  const std::set<std::size_t> first = hottest(one.subspan(0, 2000));
  EXPECT_LT(common(first, hottest(one.subspan(2000))), 12) << "layers rank for themselves";
  const std::set<std::size_t> second = hottest(stream.next().experts.subspan(0, 2000));
  const auto kept = common(first, second);
  EXPECT_LT(kept, 16);
  EXPECT_GT(kept, 3);
}

TEST(Streams, KvPagesHaveTwoClassesOfReuse) {
  constexpr std::uint32_t pages = 2000;
  kv_stream stream({.pages = pages, .sequences = 20, .pages_read = 64, .sequence_steps = 50});
  std::vector<double> counts(pages);
  double all = 0;
  for (int s = 0; s < 200; ++s) {
    for (const std::int32_t page : stream.next()) {
      counts.at(static_cast<std::size_t>(page)) += 1;
      all += 1;
    }
  }
  double shared = 0;
  for (std::size_t i = 0; i < pages / 10; ++i) {
    shared += counts[i];
  }
  EXPECT_NEAR(shared / all, 0.4, 0.02);
  EXPECT_GT(*std::max_element(counts.begin(), counts.begin() + pages / 10),
            4 * *std::max_element(counts.begin() + pages / 10, counts.end()));
}

}  // namespace
}  // namespace tidepool::bench::streams
