// SPDX-License-Identifier: Apache-2.0
//
// Captures that other threads begin and end at any moment, on streams that the pool does not know
// and on those that it has to ask about. The simulator begins them between two calls of the backend
// and reports the call that spoils one. All other tests run so too (foreign_capture_seeds.cpp).
#include "pool_support.hpp"
#include <tidepool/graph.hpp>

#include <vector>

namespace tidepool::test {
namespace {

// The other streams' memory is wanted while any of them may begin to be captured by its thread,
// also between a question about it and what the answer leads to. Without a scope the question for a
// stream's number would end a capture that begins just before it, as cuda/README.md says.
TEST_F(CudaPool, StreamsThatOthersCaptureAtAnyMomentAreAskedInPeace) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "cudasim only";
  }
  const unsigned long long begun = cudasim_foreign_captures();
  const wrong_words wrong;
  const pool_stream own(*p);
  std::vector<pool_stream> others;
  std::vector<graph_arena> arenas;
  for (int i = 0; i != 4; ++i) {
    others.emplace_back(*p);
    (void)others.back().attached();
    arenas.emplace_back(*p, gpu);
    cudasim_lend_stream(others.back().get());
  }
  (void)p->control().set_limits(gpu, {.hard = 32 * mib});
  for (unsigned round = 0; round != 40; ++round) {
    for (const pool_stream& other : others) {
      end_foreign_captures();
      const result<tensor> t = p->try_allocate(3 * mib, gpu, {.stream = other.raw()});
      if (t) {
        fill(block_of(*t), round, other.get());
        check(block_of(*t), round, wrong, other.get());
      }
    }
    // From here on the streams may begin to capture at any moment.
    std::vector<capture_scope> scopes;
    for (std::size_t i = 0; i != others.size(); ++i) {
      scopes.emplace_back(arenas[i], others[i].raw());
    }
    cudasim_set_foreign_captures(round + 1);
    for (const std::size_t bytes : {7 * mib, 100 * kib, 3 * mib}) {
      if (const result<tensor> t = p->try_allocate(bytes, gpu, {.stream = own.raw()})) {
        fill(block_of(*t), round, own.get());
        check(block_of(*t), round, wrong, own.get());
      }
    }
    if (round % 4 == 0) {
      p->control().tick();
      (void)p->control().trim();
    }
    end_foreign_captures();
  }
  for (std::size_t i = 0; i != others.size(); ++i) {
    arenas[i].reset(others[i].raw());
  }
  EXPECT_GT(cudasim_foreign_captures(), begun);
  EXPECT_EQ(wrong.count(), 0U);
}

}  // namespace
}  // namespace tidepool::test
