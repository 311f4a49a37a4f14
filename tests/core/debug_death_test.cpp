// SPDX-License-Identifier: Apache-2.0
//
// Guard pages trap: tests whose process must die, and die there.
#include "debug_support.hpp"

namespace tidepool::test {
namespace {

TEST(DebugGuardDeath, AGuardPageTrapsAtTheFirstByteBehind) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  for (const std::size_t bytes :
       {std::size_t{64}, std::size_t{4096}, std::size_t{70016}, 2 * mib}) {
    EXPECT_DEATH(
        {
          pool p(small_cpu(), {.debug = {.guard = guard_mode::pages}});
          const tensor t = p.allocate(bytes);
          poke(t.data(), signed_size(bytes) - 1);
          std::fputs("written\n", stderr);
          poke(t.data(), signed_size(bytes));
        },
        "written");
    EXPECT_DEATH(
        {
          pool p(small_cpu(), {.debug = {.guard = guard_mode::pages}});
          const tensor t = p.allocate(bytes);
          (void)peek(t.data(), signed_size(bytes));
        },
        "");
  }
}

TEST(DebugGuardDeath, APageInQuarantineTrapsReadersAndWriters) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const debug_options modes{.guard = guard_mode::pages, .quarantine_bytes = mib};
  EXPECT_DEATH(
      {
        pool p(small_cpu(), {.debug = modes});
        tensor t = p.allocate(100);
        void* const data = t.data();
        t.reset();
        (void)peek(data, 0);
      },
      "");
}

}  // namespace
}  // namespace tidepool::test
