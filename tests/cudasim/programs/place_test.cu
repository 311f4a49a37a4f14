// SPDX-License-Identifier: Apache-2.0
//
// CUDA is called where it must not be: at a thread's end, and in a forked child.
#include "support.cuh"

#include <sys/wait.h>
#include <unistd.h>

#include <thread>

namespace {

struct caller {
  ~caller() {
    if (calls) {
      cudaStreamQuery(nullptr);
    }
  }
  bool calls = false;
};

void run_thread(bool calls) {
  std::thread([calls] {
    thread_local caller at_end;
    at_end.calls = calls;
    expect_success(cudaStreamQuery(nullptr), "query");
  }).join();
}

TEST(Place, ACallAtTheEndOfAThreadIsReported) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "cudasim only";
  }
  run_thread(false);
  EXPECT_EQ(taken(CUDASIM_THREAD_END), 0u);
  run_thread(true);
  EXPECT_EQ(taken(CUDASIM_THREAD_END), 1u);
}

TEST(Place, ACallInAForkedChildIsReported) {
  if (!cudasim_is_present()) {
    GTEST_SKIP() << "cudasim only";
  }
  expect_success(cudaStreamQuery(nullptr), "query");
  for (const bool calls : {false, true}) {
    const pid_t child = fork();
    if (child == 0) {
      if (calls) {
        cudaStreamQuery(nullptr);
      }
      _exit(static_cast<int>(taken(CUDASIM_FORKED_CHILD)));
    }
    int how = 0;
    ASSERT_EQ(waitpid(child, &how, 0), child);
    ASSERT_TRUE(WIFEXITED(how));
    EXPECT_EQ(WEXITSTATUS(how), calls ? 1 : 0);
  }
}

}  // namespace
