// SPDX-License-Identifier: Apache-2.0
//
// ticker: it ticks, ends at once, moves, and means nothing in a child.
#include "support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/ticker.hpp>

#include <stdexcept>

namespace tidepool::test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

/// Whether memory that stayed free goes back, which some ticks do and nothing else. A few
/// milliseconds are enough: the deadline only ends a test that would wait for ever.
[[nodiscard]] bool is_given_back(const pool& p, std::chrono::seconds patience = minutes(2)) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (p.control().statistics().devices[0].reserved_bytes != 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}
constexpr const char* no_ticks = "no tick gave back the memory that stays free";
void leave_free_memory(pool& p) {
  const tensor a = p.allocate(20 * mib);
  std::memset(a.data(), 1, a.bytes());
}

TEST(Ticker, GivesBackWhatStaysFree) {
  pool p(small_cpu(), {.thread_cache_bytes = 0});
  const ticker ticks(p, milliseconds(1));
  for (int i = 0; i < 3; ++i) {
    leave_free_memory(p);
    ASSERT_TRUE(is_given_back(p)) << no_ticks;
  }
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(Ticker, EndsWithoutWaitingForItsInterval) {
  pool p(small_cpu());
  for (int i = 0; i < 50; ++i) {
    const ticker ticks(p, hours(24));
  }
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(Ticker, MovesAndIsReplaced) {
  pool p(small_cpu(), {.thread_cache_bytes = 0});
  ticker slow(p, hours(24));
  ticker fast(p, milliseconds(1));
  slow = std::move(fast);
  leave_free_memory(p);
  ASSERT_TRUE(is_given_back(p)) << no_ticks;
  const ticker last(std::move(slow));
  leave_free_memory(p);
  ASSERT_TRUE(is_given_back(p)) << no_ticks;
}

TEST(Ticker, WantsAnInterval) {
  pool p(small_cpu());
  EXPECT_THROW(ticker(p, milliseconds(0)), std::invalid_argument);
  EXPECT_THROW(ticker(p, milliseconds(-1)), std::invalid_argument);
}

TEST(Ticker, WorksBesideThreadsAndAClose) {
  pool p(small_cpu());
  const ticker ticks(p, milliseconds(1));
  {
    const load others(p, 2);
    for (int i = 0; i < rounds(200); ++i) {
      EXPECT_NE(p.allocate(3 * mib).data(), nullptr);
    }
  }
  (void)p.close();
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(Ticker, OfTheParentEndsInAChildToo) {
  if (address_sanitized) {
    GTEST_SKIP() << "a child hangs in libasan's allocator when a thread of the parent was in it";
  }
  pool p(small_cpu(), {.thread_cache_bytes = 0});
  for (int i = 0; i < rounds(50); ++i) {
    auto ticks = std::make_unique<ticker>(p, milliseconds(1));
    ASSERT_EQ(in_loaded_child([&] {
                ticks.reset();
                {
                  const ticker own(p, milliseconds(1));
                  leave_free_memory(p);
                  // Before the watchdog, which would end the child without a word.
                  require(is_given_back(p, seconds(15)), no_ticks);
                }
                require(imbalance(p), "balance in the child");
              }),
              0);
  }
}

}  // namespace
}  // namespace tidepool::test
