// SPDX-License-Identifier: Apache-2.0
//
// Guard pages trap: tests whose process must die, and die there.
#include "debug_support.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

namespace tidepool::test {
namespace {

/// qemu-user cannot start the program that it runs.
[[nodiscard]] bool can_start_itself() {
  const pid_t child = ::fork();
  if (child == 0) {
    const int nowhere = ::open("/dev/null", O_WRONLY);
    (void)::dup2(nowhere, STDOUT_FILENO);
    (void)::execl("/proc/self/exe", "core_test", "--gtest_list_tests", nullptr);
    ::_exit(1);
  }
  int state = 0;
  return ::waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

/// In a program started anew where that is possible, as threads may be running in this one.
void choose_how_to_die() {
  ::testing::FLAGS_gtest_death_test_style = can_start_itself() ? "threadsafe" : "fast";
}

TEST(DebugGuardDeath, AGuardPageTrapsAtTheFirstByteBehind) {
  choose_how_to_die();
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
  choose_how_to_die();
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
