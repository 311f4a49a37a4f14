// SPDX-License-Identifier: Apache-2.0
//
// Captures of real CUDA graphs in a graph_arena: replays use the same addresses, nobody else gets
// them, and nothing of the pool's enters a graph.
#include "pool_support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/graph.hpp>

#include <functional>

namespace tidepool::test {
namespace {

class CudaGraph : public CudaPool {
 protected:
  struct captured {
    cudaGraphExec_t exec = nullptr;
    std::size_t nodes = 0;
  };
  /// What `work` does on the stream, as a graph. The pool knows the stream, so that a scope may be
  /// opened while it captures.
  [[nodiscard]] captured capture(cudaStream_t stream, const std::function<void()>& work) {
    captured made;
    EXPECT_TRUE(p->attach(gpu, cuda::stream(stream)));
    cudaGraph_t graph = nullptr;
    expect_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    work();
    expect_success(cudaStreamEndCapture(stream, &graph));
    expect_success(cudaGraphGetNodes(graph, nullptr, &made.nodes));
    expect_success(cudaGraphInstantiate(&made.exec, graph, 0));
    expect_success(cudaGraphDestroy(graph));
    return made;
  }
};

TEST_F(CudaGraph, ReplaysWorkInMemoryThatNobodyElseGets) {
  const pool_stream a(*p);
  const pool_stream b(*p);
  const wrong_words wrong;
  graph_arena arena(*p, gpu);
  const captured graph = capture(a.get(), [&] {
    const capture_scope scope(arena, a.raw());
    for (unsigned i = 0; i < 6; ++i) {
      const tensor t = p->allocate(std::size_t{4} << (10 + 2 * i), gpu, {.stream = a.raw()});
      fill(block_of(t), i, a.get());
      check(block_of(t), i, wrong, a.get());
      const tensor u = p->allocate(9 * kib, gpu, {.stream = a.raw()});
      fill(block_of(u), 100 + i, a.get());
      check(block_of(u), 100 + i, wrong, a.get());
    }
  });
  // Kernels alone: 6 times two fills and two checks, twice that for large blocks' ends.
  EXPECT_GE(graph.nodes, 24U);
  for (int round = 0; round < 5; ++round) {
    expect_success(cudaGraphLaunch(graph.exec, a.get()));
    std::vector<tensor> held;
    for (const std::size_t bytes : {4 * kib, 9 * kib, 64 * kib, 4 * mib}) {
      for (const pool_stream* stream : {&a, &b}) {
        held.push_back(p->allocate(bytes, gpu, {.stream = stream->raw()}));
        fill(block_of(held.back()), 1000, stream->get());
        check(block_of(held.back()), 1000, wrong, stream->get());
      }
    }
    (void)p->control().trim();
  }
  EXPECT_EQ(wrong.count(), 0U);
  expect_success(cudaGraphExecDestroy(graph.exec));
  arena.reset(a.raw());
}

TEST_F(CudaGraph, OutsideAScopeACaptureIsRefusedAndGoesOn) {
  const pool_stream a(*p);
  const wrong_words wrong;
  tensor before = p->allocate(4 * kib, gpu, {.stream = a.raw()});
  const captured graph = capture(a.get(), [&] {
    const result<tensor> refused = p->try_allocate(5 * mib, gpu, {.stream = a.raw()});
    EXPECT_EQ(refused.error().code, errc::stream_captures);
    fill(block_of(before), 5, a.get());
    check(block_of(before), 5, wrong, a.get());
    // Other streams, and other devices, are not concerned.
    const pool_stream b(*p);
    const tensor other = p->allocate(5 * mib, gpu, {.stream = b.raw()});
    EXPECT_NE(other.data(), nullptr);
  });
  EXPECT_EQ(graph.nodes, 2U);
  expect_success(cudaGraphLaunch(graph.exec, a.get()));
  EXPECT_EQ(wrong.count(), 0U);
  expect_success(cudaGraphExecDestroy(graph.exec));
}

// What is free and ready needs no backend, which would know: checked builds ask each time.
TEST_F(CudaGraph, CheckedBuildsRefuseACaptureTheMemoryThatIsReady) {
  const pool_stream a(*p);
  const auto warm = [&] {
    for (const std::size_t bytes : {4 * kib, 2 * mib}) {
      const tensor t = p->allocate(bytes, gpu, {.stream = a.raw()});
      const tensor u = p->allocate(bytes, gpu, {.stream = a.attached()});
    }
  };
  warm();
  graph_arena arena(*p, gpu);
  const std::uint64_t misuses = p->control().statistics().misuses;
  captured graph = capture(a.get(), [&] {
    for (const std::size_t bytes : {4 * kib, 2 * mib}) {
      for (const stream_ref& on : {a.raw(), a.attached()}) {
        const result<tensor> made = p->try_allocate(bytes, gpu, {.stream = on});
        const result<tensor> named =
            p->try_allocate(bytes, gpu, {.stream = on, .category = category::activation});
        if (TIDEPOOL_ASSERT_LEVEL >= 2) {
          EXPECT_EQ(made.error().code, errc::stream_captures);
          EXPECT_EQ(named.error().code, errc::stream_captures);
        } else {
          EXPECT_TRUE(made);
        }
        const capture_scope scope(arena, on);
        EXPECT_TRUE(p->try_allocate(bytes, gpu, {.stream = on}));
      }
    }
    // Other streams are not concerned.
    const pool_stream b(*p);
    EXPECT_TRUE(p->try_allocate(4 * kib, gpu, {.stream = b.raw()}));
  });
  expect_success(cudaGraphExecDestroy(graph.exec));
  arena.reset(a.raw());
  warm();
  EXPECT_EQ(p->control().statistics().misuses, misuses);
}

TEST_F(CudaGraph, TwoCapturesOneAfterTheOtherShareTheArena) {
  const pool_stream a(*p);
  const wrong_words wrong;
  graph_arena arena(*p, gpu);
  std::vector<captured> graphs;
  std::vector<void*> first;
  for (unsigned n = 0; n < 2; ++n) {
    std::vector<void*> seen;
    graphs.push_back(capture(a.get(), [&] {
      const capture_scope scope(arena, a.raw());
      for (unsigned i = 0; i < 4; ++i) {
        const tensor t = p->allocate(40 * kib, gpu, {.stream = a.raw()});
        seen.push_back(t.data());
        fill(block_of(t), n * 10 + i, a.get());
        check(block_of(t), n * 10 + i, wrong, a.get());
      }
    }));
    if (n == 0) {
      first = seen;
    }
    EXPECT_EQ(seen, first);
  }
  for (int round = 0; round < 3; ++round) {
    for (const captured& graph : graphs) {
      expect_success(cudaGraphLaunch(graph.exec, a.get()));
    }
  }
  EXPECT_EQ(wrong.count(), 0U);
  for (const captured& graph : graphs) {
    expect_success(cudaGraphExecDestroy(graph.exec));
  }
  arena.reset(a.raw());
}

TEST_F(CudaGraph, AnArenaThatCannotGrowAnswersAndTheCaptureGoesOn) {
  const pool_stream a(*p);
  const wrong_words wrong;
  (void)p->control().set_limits(gpu, {.hard = 16 * mib});
  graph_arena arena(*p, gpu);
  const captured graph = capture(a.get(), [&] {
    const capture_scope scope(arena, a.raw());
    const result<tensor> refused = p->try_allocate(64 * mib, gpu, {.stream = a.raw()});
    EXPECT_EQ(refused.error().code, errc::over_budget);
    const tensor t = p->allocate(mib, gpu, {.stream = a.raw()});
    fill(block_of(t), 5, a.get());
    check(block_of(t), 5, wrong, a.get());
  });
  expect_success(cudaGraphLaunch(graph.exec, a.get()));
  EXPECT_EQ(wrong.count(), 0U);
  expect_success(cudaGraphExecDestroy(graph.exec));
  arena.reset(a.raw());
}

}  // namespace
}  // namespace tidepool::test
