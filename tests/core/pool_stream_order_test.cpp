// SPDX-License-Identifier: Apache-2.0
//
// Streams of stream-ordered devices: in whose order blocks come back, and whom they serve next.
#include "stream_support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/graph.hpp>

namespace tidepool::test {
namespace {

TEST_F(PoolStream, FreeingOnAnotherStreamGivesTheBlockToThatStream) {
  for (const std::size_t bytes : {std::size_t{1000}, 300 * kib, 3 * mib}) {
    pool p = make();
    const stream_ref a = attached(p, 1);
    const stream_ref b = attached(p, 2);
    for (int i = 0; i < 50; ++i) {
      tensor t = on(p, a, bytes);
      void* const data = t.data();
      if (i % 2 == 0) {
        EXPECT_EQ(p.deallocate(t.release(), b), errc::ok);
      } else {
        t.reset(b);
      }
      const tensor mine = on(p, a, bytes);
      EXPECT_NE(mine.data(), data);
      const tensor other = on(p, b, bytes);
      EXPECT_EQ(other.data(), data);
      EXPECT_EQ(p.control().verify(), nullptr);
    }
    EXPECT_TRUE(log.orders.empty()) << "nobody had to wait";
    EXPECT_EQ(p.retire(gpu, b), errc::ok);
    EXPECT_EQ(p.retire(gpu, a), errc::ok);
    expect_balanced(p);
  }
}

TEST_F(PoolStream, WhatOtherStreamsUsedComesBackAfterAllOfThem) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  const stream_ref b = attached(p, 2);
  const stream_ref c = attached(p, 3);
  tensor t = on(p, a);
  void* const data = t.data();
  EXPECT_EQ(p.record_use(t.id(), b), errc::ok);
  EXPECT_EQ(p.record_use(t.id(), a), errc::ok);  // its own: nothing
  EXPECT_EQ(p.record_use(t.id(), b), errc::ok);
  EXPECT_TRUE(any(p.info(t.id())->flags & tensor_flags::used_elsewhere));
  t.reset();
  EXPECT_EQ(log.returned[data], (std::vector{a, b}));
  // Freed on a third stream: that one and b, as the free is after what its own did.
  tensor u = on(p, a);
  void* const other = u.data();
  EXPECT_EQ(p.record_use(u.id(), raw_stream(2)), errc::ok);
  u.reset(c);
  EXPECT_EQ(log.returned[other], (std::vector{c, b}));
  // Once only: the slot's next tensor has no such uses.
  for (int i = 0; i < 20; ++i) {
    tensor again = on(p, a);
    EXPECT_FALSE(any(p.info(again.id())->flags & tensor_flags::used_elsewhere));
  }
  EXPECT_TRUE(log.orders.empty());
  expect_balanced(p);
}

TEST_F(PoolStream, ReferencesThatEndOnSeveralStreamsAreAllWaitedFor) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  const stream_ref b = attached(p, 2);
  const stream_ref c = attached(p, 3);
  tensor whole = on(p, a);
  void* const data = whole.data();
  result<tensor> second = p.share(whole);
  result<tensor> part = p.slice(whole, 100, 100);
  second->reset(b);
  whole.reset();  // on a, its own
  EXPECT_EQ(log.returned.count(data), 0U);
  part->reset(c);
  EXPECT_EQ(log.returned[data], (std::vector{c, b}));
  expect_balanced(p);
}

TEST_F(PoolStream, UsesOfAStreamThatIsRetiredAreWaitedForByTheTensorsOwn) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  const stream_ref b = attached(p, 2);
  tensor t = on(p, a);
  EXPECT_EQ(p.record_use(t.id(), b), errc::ok);
  EXPECT_EQ(p.retire(gpu, b), errc::ok);
  ASSERT_EQ(log.orders.size(), 1U);
  EXPECT_EQ(log.orders[0], std::pair(b, a));
  EXPECT_EQ(log.retired, std::vector{b});
  const void* const data = t.data();
  t.reset();
  EXPECT_EQ(on(p, a).data(), data);
  expect_balanced(p);
}

TEST_F(PoolStream, UsesThatCannotBeRecordedAreAnswered) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  tensor t = on(p, a);
  const tensor_id dead = [&] {
    tensor gone = on(p, a);
    return gone.id();
  }();
  EXPECT_EQ(p.record_use(dead, a), errc::stale_id);
  EXPECT_EQ(misuses.take().size(), 1U);
  EXPECT_EQ(p.record_use({}, a), errc::stale_id);
  EXPECT_EQ(misuses.take().size(), 1U);
  std::array<char, 64> bytes{};
  const tensor adopted = p.adopt(bytes.data(), bytes.size(), gpu);
  EXPECT_EQ(p.record_use(adopted.id(), a), errc::unsupported);
}

// The host writes at once: a block that a stream may still read is nobody's until it is done.
TEST_F(PoolStream, MemoryForTheHostWaitsInTheBackendForItsStreams) {
  constexpr device pinned = device::pinned(gpu);
  pool p(std::make_unique<heap_backend>(log, pinned, 64, true), misuses.options());
  const stream_ref a = *p.attach(pinned, raw_stream(1));
  const stream_ref b = *p.attach(pinned, raw_stream(2));
  const auto at = [&](const stream_ref& stream, std::size_t bytes = 1000) {
    return p.allocate(bytes, pinned, {.stream = stream});
  };
  tensor t = at(a);
  void* data = t.data();
  t.reset();
  EXPECT_EQ(log.returned[data], std::vector{a});
  tensor u = at(a, 3 * mib);
  data = u.data();
  EXPECT_EQ(p.record_use(u.id(), b), errc::ok);
  u.reset();
  EXPECT_EQ(log.returned[data], (std::vector{a, b}));
  tensor v = at({});
  data = v.data();
  v.reset(b);
  EXPECT_EQ(log.returned[data], std::vector{b});
  // Without a stream nobody is waited for, and the thread keeps it.
  tensor w = at({});
  data = w.data();
  const std::size_t made = log.made;
  w.reset();
  EXPECT_EQ(at({}).data(), data);
  EXPECT_EQ(log.made.load(), made);
  EXPECT_EQ(graph_arena::try_create(p, pinned).error().code, errc::unsupported);
  expect_balanced(p);
}

TEST_F(PoolStream, ARecycledHandleIsAnotherStreamAndAMisuse) {
  pool p = make();
  const stream_ref old = attached(p, 1);
  tensor of_old = on(p, old);
  void* const data = of_old.data();
  of_old.reset();
  memory->recycle(raw_stream(1));
  // This thread's memo still says what the handle was, until something else is asked for.
  on(p, raw_stream(2)).reset();
  const std::size_t made = log.made;
  const tensor of_new = on(p, raw_stream(1));
  EXPECT_EQ(log.returned[data], std::vector{old}) << "no block goes from one to the other";
  EXPECT_GT(log.made.load(), made);
  const std::vector<misuse_report> told = misuses.take();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].kind, misuse_kind::unretired_stream);
  EXPECT_EQ(log.retired.size(), 1U);
  expect_clean_after(p);
}

// Checked builds ask before each allocation, and do not need the hop to another stream.
TEST_F(PoolStream, CheckedBuildsSeeARecycledHandleAtOnce) {
  if (TIDEPOOL_ASSERT_LEVEL < 2) {
    GTEST_SKIP() << "not a checked build";
  }
  pool p = make();
  for (const stream_ref& old : {attached(p, 1), raw_stream(2)}) {
    tensor of_old = on(p, old);
    const std::uint32_t lane = p.info(of_old.id())->stream;
    void* const data = of_old.data();
    of_old.reset();
    memory->recycle(old);
    const tensor of_new = p.allocate(1000, gpu, {.stream = old});
    EXPECT_EQ(log.returned[data].front().number, lane) << "no block goes from one to the other";
    const std::vector<misuse_report> told = misuses.take();
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].kind, misuse_kind::unretired_stream);
  }
  expect_clean_after(p);
}

TEST_F(PoolStream, ABackendThatKnowsAHandleNoMoreIsAskedForTheNewStream) {
  pool p = make();
  for (const std::size_t bytes : {std::size_t{1000}, 3 * mib}) {
    const stream_ref old = attached(p, 1);
    const tensor of_old = on(p, old, bytes);
    memory->refuse_until_retired(old);
    std::vector<tensor> held;
    for (int i = 0; i < 100; ++i) {
      held.push_back(p.allocate(bytes, gpu, {.stream = old}));
    }
    const std::vector<misuse_report> told = misuses.take();
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].kind, misuse_kind::unretired_stream);
    EXPECT_EQ(p.control().verify(), nullptr);
  }
  EXPECT_EQ(log.retired.size(), 2U);
  expect_balanced(p);
}

TEST_F(PoolStream, PerThreadStreamsAreOneForEachThreadAndEndWithIt) {
  pool p = make();
  const stream_ref own{.handle = raw_stream(0).handle, .kind = stream_kind::per_thread};
  tensor mine = p.allocate(500, gpu, {.stream = own});
  const std::uint32_t here = p.info(mine.id())->stream;
  void* const data = mine.data();
  std::uint32_t there = 0;
  std::thread([&] {
    tensor other = p.allocate(500, gpu, {.stream = own});
    there = p.info(other.id())->stream;
    // Freed in the order of its own stream, this thread's never gets it.
    mine.reset();
    EXPECT_NE(p.allocate(500, gpu, {.stream = own}).data(), data);
    // Freed in the order of this thread's stream, it is this thread's.
    tensor moved = p.allocate(500, gpu, {.stream = own});
    moved.reset(own);
  }).join();
  EXPECT_NE(here, there);
  ASSERT_EQ(log.retired.size(), 1U) << "the thread's stream ended with it";
  EXPECT_EQ(log.retired[0].kind, stream_kind::per_thread);
  expect_balanced(p);
}

TEST_F(PoolStream, TensorsOfARetiredStreamEndInTheOrderOfTheDefaultOne) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  std::array<tensor, 3> held{on(p, a), on(p, a, 3 * mib), on(p, a)};
  tensor empty = p.allocate(0, gpu, {.stream = a});
  EXPECT_EQ(p.retire(gpu, a), errc::ok);
  EXPECT_EQ(p.control().verify(), nullptr);
  empty.reset();
  const stream_ref b = attached(p, 2);
  EXPECT_NE(b.number, a.number);
  void* const data = held[0].data();
  held[0].reset();
  EXPECT_NE(on(p, b).data(), data);
  EXPECT_EQ(on(p, {}).data(), data);
  void* const large = held[1].data();
  held[1].reset(b);
  EXPECT_EQ(on(p, b, 3 * mib).data(), large);
  EXPECT_NE(attached(p, 3).number, a.number) << "one is alive";
  held[2].reset();
  EXPECT_EQ(attached(p, 4).number, a.number) << "none is";
  expect_balanced(p);
}

TEST_F(PoolStream, RetiringGivesBackWhatTheStreamKept) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  const stream_ref uncached = attached(p, 2);
  std::vector<tensor> live;
  for (const stream_ref& s : {a, uncached}) {
    std::vector<tensor> held;
    for (int i = 0; i < 30; ++i) {
      held.push_back(on(p, s, i % 3 == 0 ? 2 * mib : 500));
    }
    live.push_back(std::move(held.front()));
  }
  // Kept by another thread, which is idle meanwhile.
  std::thread([&] { std::vector<tensor>{}.swap(live); }).join();
  live.push_back(on(p, a));
  EXPECT_GT(memory->blocks_on(a), 1U);
  EXPECT_EQ(p.retire(gpu, a), errc::ok);
  EXPECT_EQ(memory->blocks_on(a), 1U) << "only the living tensor's";
  EXPECT_EQ(p.retire(gpu, raw_stream(2)), errc::ok);  // without its number
  EXPECT_EQ(memory->blocks_on(uncached), 0U);
  EXPECT_EQ(log.retired, (std::vector{a, uncached}));
  EXPECT_EQ(p.control().statistics().total.live, 1U);
  EXPECT_EQ(p.control().verify(), nullptr);
  live.clear();
  expect_balanced(p);
}

TEST_F(PoolStream, ANumberStaysWithItsStreamOverRetirement) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  const stream_ref b = attached(p, 2);
  tensor of_a = on(p, a);
  of_a.reset();
  ASSERT_EQ(p.retire(gpu, a), errc::ok);
  // A new stream never gets blocks of the retired one, whatever its number is.
  const stream_ref c = attached(p, 3);
  EXPECT_NE(c.number, b.number);
  const tensor of_c = on(p, c);
  // The system gave the handle to a new stream: it is attached again, and its blocks are new.
  const std::size_t made = log.made.load();
  const stream_ref again = attached(p, 1);
  EXPECT_NE(again.number, b.number);
  EXPECT_NE(again.number, c.number);
  const tensor of_again = on(p, again);
  EXPECT_GT(log.made.load(), made);
  // The old reference, kept by somebody, leads to the handle's stream and to no other.
  const tensor of_old = on(p, a);
  EXPECT_EQ(p.info(of_old.id())->stream, again.number);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST_F(PoolStream, StreamsAreAttachedAndRetiredOverAndOver) {
  pool p = make();
  for (int round = 0; round < 300; ++round) {
    const stream_ref s = attached(p, static_cast<std::uintptr_t>(round % 7));
    tensor t = on(p, s);
    t.reset();
    EXPECT_EQ(p.retire(gpu, s), errc::ok);
    EXPECT_EQ(memory->blocks_on(s), 0U);
  }
  EXPECT_EQ(p.control().statistics().total.allocations, 300U);
  expect_balanced(p);
}

TEST_F(PoolStream, TensorsOutliveTheirStreamAndThePool) {
  tensor t;
  {
    pool p = make();
    const stream_ref a = attached(p, 1);
    t = on(p, a);
    EXPECT_EQ(p.retire(gpu, a), errc::ok);
  }
  byte_of(t, 999) = 1;
  EXPECT_EQ(log.handed_out.load(), 1U);
  t.reset();
}

}  // namespace
}  // namespace tidepool::test
