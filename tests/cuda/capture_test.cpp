// SPDX-License-Identifier: Apache-2.0
//
// Captures, rule by rule: edges of the graph, blocks that wait for the next capture, scopes.
#include "capture_support.hpp"

#include <string>
#include <thread>

namespace tidepool::test {
namespace {

// b is not joined before the tensor ends: the pool's own edge is all that orders the next use.
TEST_F(CudaCapture, AForkedStreamIsOrderedByAnEdgeOfTheGraph) {
  const wrong_words wrong;
  const pool_stream a(*p);
  const pool_stream b(*p);
  (void)b.attached();
  graph_arena arena(*p, gpu);
  for (const bool ends_on_b : {false, true}) {
    cudaGraph_t graph = nullptr;
    unsigned reused = 0;
    {
      const capture_scope scope(arena, a.raw());
      expect_success(cudaStreamBeginCapture(a.get(), cudaStreamCaptureModeGlobal));
      for (unsigned i = 0; i < 4; ++i) {
        tensor t = p->allocate(3 * mib, gpu, {.stream = a.raw()});
        void* const data = t.data();
        fill(block_of(t), i, a.get());
        order(a.get(), b.get());
        check(block_of(t), i, wrong, b.get());
        if (ends_on_b) {
          t.reset(b.raw());
        } else {
          EXPECT_EQ(p->record_use(t.id(), b.raw()), errc::ok);
          t.reset();
        }
        const tensor next = p->allocate(3 * mib, gpu, {.stream = a.raw()});
        reused += next.data() == data ? 1 : 0;
        fill(block_of(next), 50 + i, a.get());
        check(block_of(next), 50 + i, wrong, a.get());
      }
      order(b.get(), a.get());
      expect_success(cudaStreamEndCapture(a.get(), &graph));
    }
    EXPECT_EQ(reused, 4U) << "an edge makes it reusable within the capture";
    replay_twice(graph, a.get());
    EXPECT_EQ(wrong.count(), 0U);
  }
  arena.reset(a.raw());
}

// c works outside of the capture: its block waits for the arena's next capture.
TEST_F(CudaCapture, WhatAnotherStreamUsesWaitsForTheNextCapture) {
  const wrong_words wrong;
  const pool_stream a(*p);
  const pool_stream c(*p);
  graph_arena arena(*p, gpu);
  void* data = nullptr;
  for (int round = 0; round < 2; ++round) {
    cudaGraph_t graph = nullptr;
    bool came_again = false;
    {
      const capture_scope scope(arena, a.raw());
      expect_success(cudaStreamBeginCapture(a.get(), cudaStreamCaptureModeGlobal));
      tensor t = p->allocate(3 * mib, gpu, {.stream = a.raw()});
      if (round == 0) {
        data = t.data();
        fill(block_of(t), 9, c.get());
        check(block_of(t), 9, wrong, c.get());
        t.reset(c.raw());
      }
      std::vector<tensor> held;
      for (unsigned i = 0; i < 6; ++i) {
        held.push_back(p->allocate(3 * mib, gpu, {.stream = a.raw()}));
        came_again = came_again || held.back().data() == data || t.data() == data;
        fill(block_of(held.back()), i, a.get());
      }
      expect_success(cudaStreamEndCapture(a.get(), &graph));
    }
    EXPECT_EQ(came_again, round == 1);
    EXPECT_EQ(p->control().verify(), nullptr);
    replay_twice(graph, a.get());
  }
  EXPECT_EQ(wrong.count(), 0U);
  arena.reset(a.raw());
}

// From the scope on, any thread may begin the capture at any time.
TEST_F(CudaCapture, NobodyElseTouchesTheStreamOfAScope) {
  const pool_stream a(*p);
  const pool_stream b(*p);
  (void)p->control().set_limits(gpu, {.hard = 64 * mib});
  {
    const tensor freed = p->allocate(40 * mib, gpu, {.stream = a.raw()});
    fill(block_of(freed), 1, a.get());
  }
  graph_arena arena(*p, gpu);
  std::thread([&] {
    const capture_scope scope(arena, a.raw());
    const std::uint64_t records = calls_of("cudaEventRecord");
    std::thread([&] {
      EXPECT_FALSE(p->try_allocate(40 * mib, gpu, {.stream = b.raw()}).has_value());
      (void)p->control().trim();
      p->control().tick();
    }).join();
    EXPECT_EQ(calls_of("cudaEventRecord"), records);
    EXPECT_EQ(calls_of("cudaStreamQuery"), 0U);
  }).join();
  EXPECT_TRUE(p->try_allocate(40 * mib, gpu, {.stream = b.raw()}).has_value());
  arena.reset(a.raw());
}

// Each graph has an arena; one captures in the relaxed mode on another thread, and forks twice.
TEST_F(CudaCapture, TwoCapturesAtOnceHaveAnArenaEach) {
  const wrong_words wrong;
  const pool_stream a(*p);
  const pool_stream b(*p);
  const pool_stream c(*p);
  const pool_stream d(*p);
  (void)b.attached();
  (void)c.attached();
  graph_arena first(*p, gpu);
  graph_arena second(*p, gpu);
  cudaGraph_t graph = nullptr;
  cudaGraph_t other_graph = nullptr;
  {
    const capture_scope scope(first, a.raw());
    const capture_scope other_scope(second, d.raw());
    expect_success(cudaStreamBeginCapture(a.get(), cudaStreamCaptureModeRelaxed));
    std::thread([&] {
      expect_success(cudaStreamBeginCapture(d.get(), cudaStreamCaptureModeRelaxed));
    }).join();
    for (unsigned i = 0; i < 6; ++i) {
      tensor t = p->allocate(3 * mib, gpu, {.stream = a.raw()});
      const tensor u = p->allocate(3 * mib, gpu, {.stream = d.raw()});
      EXPECT_NE(t.data(), u.data());
      fill(block_of(u), 30 + i, d.get());
      check(block_of(u), 30 + i, wrong, d.get());
      fill(block_of(t), i, a.get());
      order(a.get(), b.get());
      order(b.get(), c.get());
      check(block_of(t), i, wrong, c.get());
      EXPECT_EQ(p->record_use(t.id(), c.raw()), errc::ok);
      t.reset(b.raw());
    }
    order(c.get(), b.get());
    order(b.get(), a.get());
    EXPECT_TRUE(is_sound(a.get()));
    EXPECT_TRUE(is_sound(d.get()));
    expect_success(cudaStreamEndCapture(a.get(), &graph));
    expect_success(cudaStreamEndCapture(d.get(), &other_graph));
  }
  replay_twice(graph, a.get());
  replay_twice(other_graph, d.get());
  EXPECT_EQ(wrong.count(), 0U);
  first.reset(a.raw());
  second.reset(d.raw());
}

TEST_F(CudaCapture, AScopeOfAnUnknownStreamIsOpenedBeforeTheCapture) {
  const pool_stream a(*p);
  graph_arena arena(*p, gpu);
  expect_success(cudaStreamBeginCapture(a.get(), cudaStreamCaptureModeGlobal));
  const result<capture_scope> late = capture_scope::try_create(arena, a.raw());
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code, errc::stream_captures);
  EXPECT_NE(to_string(late.error()).find("before"), std::string::npos) << to_string(late.error());
  EXPECT_EQ(p->attach(gpu, a.raw()).error().code, errc::stream_captures);
  EXPECT_EQ(p->try_allocate(64 * mib, gpu, {.stream = a.raw()}).error().code,
            errc::stream_captures);
  EXPECT_TRUE(is_sound(a.get()));
  cudaGraph_t graph = nullptr;
  expect_success(cudaStreamEndCapture(a.get(), &graph));
  std::size_t nodes = 1;
  expect_success(cudaGraphGetNodes(graph, nullptr, &nodes));
  EXPECT_EQ(nodes, 0U);
  expect_success(cudaGraphDestroy(graph));
}

}  // namespace
}  // namespace tidepool::test
