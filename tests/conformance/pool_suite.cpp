// SPDX-License-Identifier: Apache-2.0
//
// The suite, second part: a pool over the backend.
#include "../support/sizes.hpp"
#include "conformance.hpp"
#include <tidepool/control.hpp>
#include <tidepool/pool.hpp>

#include <cstring>
#include <vector>

namespace tidepool::test {
namespace {

TEST_P(BackendConformance, APoolServesEverySizeAndKeepsContents) {
  pool memory_pool(GetParam().make());
  const device_description d = memory_pool.devices().front();
  std::vector<tensor> held;
  for (std::size_t bytes = 1; bytes <= 8 * mib; bytes = bytes + bytes / 3 + 1) {
    for (int i = 0; i < 2; ++i) {
      held.push_back(memory_pool.allocate(bytes, d.where));
      EXPECT_EQ(held.back().where(), d.where);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(held.back().data()) % d.alignment, 0U);
      if (d.host_accessible) {
        std::memset(held.back().data(), static_cast<int>(held.size() & 0xff), bytes);
      }
    }
  }
  for (std::size_t i = 0; d.host_accessible && i < held.size(); ++i) {
    const auto all = held[i].as<unsigned char>();
    ASSERT_NE(all.data(), nullptr);
    EXPECT_EQ(all.front(), (i + 1) & 0xff);
    EXPECT_EQ(all.back(), (i + 1) & 0xff);
  }
  EXPECT_EQ(memory_pool.control().verify(), nullptr);
  EXPECT_EQ(memory_pool.control().statistics().total.live, held.size());
  held.clear();
  EXPECT_EQ(memory_pool.control().statistics().total.live, 0U);
  EXPECT_EQ(memory_pool.control().trim().reserved_bytes, 0U);
  EXPECT_EQ(memory_pool.control().verify(), nullptr);
}

TEST_P(BackendConformance, APoolKeepsItsLimitAndUsesAllOfIt) {
  pool memory_pool(GetParam().make(), {.limit_bytes = 16 * mib});
  const device where = memory_pool.devices().front().where;
  std::vector<tensor> held;
  for (;;) {
    result<tensor> made = memory_pool.try_allocate(200 * kib, where);
    if (!made) {
      EXPECT_EQ(made.error().code, errc::over_budget);
      break;
    }
    held.push_back(std::move(*made));
  }
  EXPECT_GE(held.size() * 200 * kib, 13 * mib);
  EXPECT_LE(memory_pool.control().statistics().devices.front().peak_reserved_bytes, 16 * mib);
  held.clear();
  // All of it is one block's worth again, whatever shape it had.
  EXPECT_TRUE(memory_pool.try_allocate(12 * mib, where).has_value());
  EXPECT_EQ(memory_pool.control().verify(), nullptr);
}

TEST_P(BackendConformance, APoolIsWarmAfterPrewarm) {
  pool memory_pool(GetParam().make());
  const device where = memory_pool.devices().front().where;
  prewarm_plan plan{.items = {{4 * kib, 64}, {2 * mib, 3}}, .where = where, .threads = 2};
  EXPECT_EQ(memory_pool.control().prewarm(plan).blocks, 67U);
  std::vector<tensor> held;
  for (int i = 0; i < 64; ++i) {
    held.push_back(memory_pool.allocate(4 * kib, where));
  }
  for (int i = 0; i < 3; ++i) {
    held.push_back(memory_pool.allocate(2 * mib, where));
  }
  EXPECT_EQ(memory_pool.control().statistics().total.refills, 0U);
  EXPECT_EQ(memory_pool.control().verify(), nullptr);
}

TEST_P(BackendConformance, LimitsOfOneBytePlusMinusOneAreExact) {
  // Every limit from nothing to a few pages: no failure but over_budget, no figure above the limit.
  for (const std::size_t limit : {std::size_t{0}, std::size_t{1}, 4 * kib, 64 * kib, 2 * mib - 1}) {
    pool memory_pool(GetParam().make(), {.limit_bytes = limit});
    const device where = memory_pool.devices().front().where;
    const result<tensor> made = memory_pool.try_allocate(3 * mib, where);
    EXPECT_EQ(made.error().code, errc::over_budget) << limit;
    (void)memory_pool.try_allocate(1, where);
    EXPECT_LE(memory_pool.control().statistics().devices.front().peak_reserved_bytes, limit);
    EXPECT_EQ(memory_pool.control().verify(), nullptr);
  }
}

}  // namespace
}  // namespace tidepool::test
