// SPDX-License-Identifier: Apache-2.0
//
// graph_arena and capture_scope, against a backend that says what it was asked for. That captures
// really work is tested on the simulated device (tests/cuda).
#include "stream_support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/graph.hpp>

#include <algorithm>

namespace tidepool::test {
namespace {

class GraphArena : public PoolStream {
 protected:
  /// Allocates and frees as a captured step would; answers the addresses.
  [[nodiscard]] static std::vector<void*> step(pool& p, const stream_ref& stream) {
    std::vector<void*> seen;
    tensor kept = p.allocate(3 * mib, gpu, {.stream = stream});
    seen.push_back(kept.data());
    for (const std::size_t bytes : {std::size_t{100}, 9 * kib, 600 * kib, 2 * mib}) {
      const tensor t = p.allocate(bytes, gpu, {.stream = stream});
      seen.push_back(t.data());
    }
    return seen;
  }
};

TEST_F(GraphArena, MemoryOfACaptureServesNobodyElse) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  on(p, a, 100).reset();
  std::vector<void*> captured;
  {
    graph_arena arena(p, gpu);
    {
      const capture_scope scope(arena, a);
      captured = step(p, a);
    }
    EXPECT_EQ(p.control().verify(), nullptr);
    p.control().thread_idle();
    EXPECT_GT(arena.free_bytes(), 5 * mib);
    // Neither the stream itself nor anything that takes memory back touches it.
    for (const stream_ref& stream : {a, attached(p, 2), stream_ref{}}) {
      for (void* const other : step(p, stream)) {
        EXPECT_EQ(std::count(captured.begin(), captured.end(), other), 0);
      }
    }
    (void)p.control().trim();
    p.control().tick();
    p.control().tick();
    for (void* const data : captured) {
      EXPECT_EQ(log.returned.count(data), 0U);
    }
    EXPECT_GT(p.control().trim().in_use_bytes, 5 * mib);
    // The next capture finds it again.
    const capture_scope scope(arena, a);
    EXPECT_EQ(step(p, a), captured);
  }
  for (void* const data : captured) {
    EXPECT_EQ(log.returned[data], std::vector{stream_ref{}})
        << "in the order of the default stream";
  }
  expect_balanced(p);
}

TEST_F(GraphArena, BlocksAreAskedForWithoutAStreamToWaitFor) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  graph_arena arena(p, gpu);
  const capture_scope scope(arena, a);
  const tensor t = p.allocate(100, gpu, {.stream = a});
  EXPECT_EQ(memory->stream_of(t.data()), stream_ref{});
  EXPECT_TRUE(memory->was_for_capture(t.data()));
  const tensor outside = p.allocate(100, gpu);
  EXPECT_FALSE(memory->was_for_capture(outside.data()));
}

TEST_F(GraphArena, WhatEndsInAScopeStaysWhereItBelongs) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  tensor before = on(p, a, 9 * kib);
  void* const outside = before.data();
  graph_arena arena(p, gpu);
  tensor inside;
  {
    const capture_scope scope(arena, a);
    inside = p.allocate(9 * kib, gpu, {.stream = a});
    before.reset(a);
    EXPECT_NE(p.allocate(9 * kib, gpu, {.stream = a}).data(), outside);
  }
  EXPECT_EQ(on(p, a, 9 * kib).data(), outside);
  // An output of the graph that ends on another stream: the next capture's stream waits for it.
  void* const captured = inside.data();
  const stream_ref b = attached(p, 2);
  inside.reset(b);
  EXPECT_NE(on(p, b, 9 * kib).data(), captured);
  EXPECT_EQ(p.control().verify(), nullptr);
  ASSERT_TRUE(log.orders.empty());
  const capture_scope scope(arena, a);
  ASSERT_EQ(log.orders.size(), 1U);
  EXPECT_EQ(log.orders[0], std::pair(b, a));
  std::vector<tensor> held;
  bool came_again = false;
  for (int i = 0; i < 64; ++i) {
    held.push_back(p.allocate(9 * kib, gpu, {.stream = a}));
    came_again = came_again || held.back().data() == captured;
  }
  EXPECT_TRUE(came_again);
}

TEST_F(GraphArena, TensorsOutliveTheArenaAsOrdinaryOnes) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  tensor output;
  {
    graph_arena arena(p, gpu);
    const capture_scope scope(arena, a);
    output = p.allocate(5000, gpu, {.stream = a});
    byte_of(output, 4999) = 7;
  }
  EXPECT_EQ(p.control().verify(), nullptr);
  EXPECT_EQ(byte_of(output, 4999), 7);
  void* const data = output.data();
  output.reset();
  EXPECT_EQ(on(p, {}, 5000).data(), data);
  expect_balanced(p);
}

TEST_F(GraphArena, ItsOrderIsTheCallersToName) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  graph_arena arena(p, gpu);
  void* data = nullptr;
  {
    const capture_scope scope(arena, a);
    data = p.allocate(5000, gpu, {.stream = a}).data();
  }
  arena.reset(a);
  EXPECT_FALSE(arena);
  EXPECT_EQ(arena.free_bytes(), 0U);
  EXPECT_EQ(log.returned[data], std::vector{a});
  EXPECT_TRUE(log.retired.empty()) << "the stream goes on";
  arena.reset();  // nothing
  expect_balanced(p);
}

TEST_F(GraphArena, RefusalsChangeNothing) {
  std::vector<std::unique_ptr<backend>> both;
  both.push_back(std::make_unique<heap_backend>(log));
  both.push_back(std::make_unique<heap_backend>(log, gpu, 64, true));
  pool p(std::move(both), misuses.options());
  EXPECT_EQ(graph_arena::try_create(p, device::cpu()).error().code, errc::unsupported);
  EXPECT_EQ(graph_arena::try_create(p, device::cuda(7)).error().code, errc::unknown_device);
  EXPECT_THROW(graph_arena(p, device::cpu()), error);
  graph_arena none;
  EXPECT_EQ(capture_scope::try_create(none, raw_stream(1)).error().code, errc::invalid_argument);
  graph_arena first(p, gpu);
  graph_arena second(p, gpu);
  const capture_scope open(first, raw_stream(1));
  EXPECT_EQ(capture_scope::try_create(second, raw_stream(1)).error().code, errc::invalid_argument);
  EXPECT_EQ(capture_scope::try_create(first, raw_stream(2)).error().code, errc::invalid_argument);
  EXPECT_THROW(capture_scope(first, raw_stream(2)), error);
  const capture_scope other(second, raw_stream(2));
  EXPECT_EQ(p.control().verify(), nullptr);
}

// An arena's lane serves streams and arenas again, when nothing of it is alive.
TEST_F(GraphArena, ManyArenasOneAfterTheOtherTakeOneLane) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  for (int i = 0; i < 300; ++i) {
    graph_arena arena(p, gpu);
    const capture_scope scope(arena, a);
    (void)step(p, a);
  }
  EXPECT_LE(attached(p, 2).number, 2U);
  expect_balanced(p);
}

}  // namespace
}  // namespace tidepool::test
