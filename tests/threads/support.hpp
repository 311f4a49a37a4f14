// SPDX-License-Identifier: Apache-2.0
//
// What the concurrency tests share. Nothing here sleeps or looks at a clock: amounts of work are
// counted, and grow by TIDEPOOL_TEST_SEEDS.
#pragma once

#include "../support/amount.hpp"
#include "../support/small_cpu.hpp"
#include <tidepool/control.hpp>
#include <tidepool/pool.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace tidepool::test {

/// Runs work(0) .. work(n - 1) in threads of their own and waits for them.
template <class Work>
void in_threads(int n, Work work) {
  std::vector<std::thread> threads;
  for (int t = 0; t < n; ++t) {
    threads.emplace_back(work, t);
  }
  for (std::thread& t : threads) {
    t.join();
  }
}

/// A tensor whose first and last bytes are its own.
struct marked {
  tensor held;
  unsigned char pattern = 0;

  marked() = default;
  marked(tensor&& t, unsigned char p) : held(std::move(t)), pattern(p) {
    if (auto* const data = static_cast<unsigned char*>(held.data())) {
      std::memset(data, pattern, std::min<std::size_t>(held.bytes(), 64));
      data[held.bytes() - 1] = pattern;
    }
  }
  /// Of bytes that have the pattern already.
  [[nodiscard]] static marked as_is(tensor&& t, unsigned char p) {
    marked m;
    m.held = std::move(t);
    m.pattern = p;
    return m;
  }
  [[nodiscard]] bool intact() const {
    const auto* const data = static_cast<const unsigned char*>(held.data());
    if (data == nullptr) {
      return held.bytes() == 0;
    }
    return data[0] == pattern && data[std::min<std::size_t>(held.bytes(), 64) - 1] == pattern &&
           data[held.bytes() - 1] == pattern;
  }
};

/// Sizes as programs have them: few kinds, mostly small.
inline std::size_t some_size(std::mt19937& random) {
  constexpr std::array<std::size_t, 8> usual{64, 100, 512, 4000, 5000, 70000, 0, 300};
  const auto pick = random() % 64;
  return pick == 0 ? 2 * mib : pick == 1 ? random() % (1 << 18) : usual[random() % usual.size()];
}

/// Nothing alive, nothing kept, nothing broken.
inline void expect_clean(pool& p) {
  const statistics s = p.control().statistics();
  EXPECT_EQ(s.total.live, 0U);
  EXPECT_EQ(s.total.requested_bytes, 0U);
  EXPECT_EQ(s.total.allocations, s.total.frees);
  EXPECT_STREQ(p.control().verify(), nullptr);
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
  EXPECT_STREQ(p.control().verify(), nullptr);
}

}  // namespace tidepool::test
