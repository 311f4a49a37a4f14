// SPDX-License-Identifier: Apache-2.0
//
// A magazine against a plain vector, and its counts against plain counters, across the carry.
#include "cache/front_cache.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <thread>
#include <vector>

namespace tidepool::detail {
namespace {

TEST(Magazine, EqualsAVectorAndCountsEveryOperation) {
  const auto records = std::make_unique<std::array<record, 256>>();
  magazine m;
  std::vector<record*> model;
  std::uint64_t pops = 0;
  std::uint64_t pushes = 0;
  std::mt19937 random(1);
  m.open();
  for (int i = 0; i < 200000; ++i) {
    const unsigned depth = m.depth();
    switch (random() % 6) {
    case 0:
    case 1:
      if (depth < magazine_slots) {
        model.push_back(&(*records)[random() % records->size()]);
        m.push(model.back());
        ++pushes;
      }
      break;
    case 2: {
      if (depth == 0) {
        break;
      }
      const unsigned at = 1 + static_cast<unsigned>(random() % depth);
      ASSERT_EQ(m.take(at), model[at - 1]);
      model.erase(model.begin() + at - 1);
      break;
    }
    case 3: {
      if (random() % 8 != 0) {
        break;
      }
      const unsigned count = static_cast<unsigned>(random() % (depth + 1));
      std::array<record*, magazine_slots> out{};
      m.take_oldest(count, out.data());
      for (unsigned k = 0; k < count; ++k) {
        ASSERT_EQ(out[k], model[k]);
      }
      model.erase(model.begin(), model.begin() + count);
      break;
    }
    case 4:
      m.count_pop({7});
      ++pops;
      break;
    default:
      m.count_push(7);
      ++pushes;
      break;
    }
    ASSERT_EQ(m.depth(), model.size());
    ASSERT_EQ(m.pops(), pops);
    ASSERT_EQ(m.pushes(), pushes);
    ASSERT_EQ(m.top, model.empty() ? nullptr : model.back());
    for (unsigned k = 1; k <= m.depth(); ++k) {
      ASSERT_EQ(m.at(k), model[k - 1]);
    }
  }
  EXPECT_GT(pops, sample_period);  // the count carried
}

// Slots of lanes that are not cached lead to the magazine `none`, and a thread that is new to a
// pool finds the sentinel's magazines. Neither may take a slot or give one.
TEST(Magazine, OfNoLaneAndOfNoCacheTakeNothingAndServeNothing) {
  const std::span all = std::as_bytes(std::span(&sentinel, 1));
  for (const std::size_t cached_lanes : {std::size_t{0}, std::size_t{1}}) {
    pool p(test::small_cpu(), {.max_cached_lanes = cached_lanes});
    std::vector<tensor> handed_over;
    for (std::size_t i = 0; i < 100; ++i) {
      p.allocate(64).reset();
      handed_over.push_back(p.allocate(64));
    }
    std::thread([&] { handed_over.pop_back(); }).join();
    std::thread([&] { EXPECT_NE(p.allocate(64).data(), nullptr); }).join();
    // All bytes are 0: the first one is, and each equals the next.
    EXPECT_EQ(all[0], std::byte{0});
    EXPECT_EQ(std::memcmp(&all[0], &all[1], all.size() - 1), 0);
    EXPECT_EQ(p.control().statistics().total.front_hits == 0, cached_lanes == 0);
    EXPECT_EQ(p.control().verify(), nullptr);
  }
}

}  // namespace
}  // namespace tidepool::detail
