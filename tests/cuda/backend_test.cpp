// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend on streams, rule by rule: reuse within one, hand-over between two, growth before
// waiting, blocks that several used, streams that end. Driver calls are counted on cudasim.
#include "support.hpp"

#include <array>
#include <thread>

namespace tidepool::test {
namespace {

/// Records and waits since it was made.
class handover_calls {
 public:
  [[nodiscard]] std::uint64_t records() const { return calls_of("cudaEventRecord") - records_; }
  [[nodiscard]] std::uint64_t waits() const { return calls_of("cudaStreamWaitEvent") - waits_; }

 private:
  std::uint64_t records_ = calls_of("cudaEventRecord");
  std::uint64_t waits_ = calls_of("cudaStreamWaitEvent");
};

TEST_F(CudaBackend, OneStreamReusesWithoutRecordOrWait) {
  const test_stream s(*tested, 1);
  const block held = make_large(3 * mib, s.ref());
  fill(held, 1, s.get());
  give_back(held, s.ref());
  const std::uint64_t before = calls_of(nullptr);
  const handover_calls calls;
  for (unsigned i = 0; i != 10; ++i) {
    const block again = make_large(3 * mib, s.ref());
    EXPECT_EQ(again.data, held.data);
    fill(again, i, s.get());
    give_back(again, s.ref());
  }
  // One question for each, whether the stream captures; the rest are the launches.
  EXPECT_LE(calls_of(nullptr) - before, 10U + 10U * 8U);
  EXPECT_EQ(calls.records() + calls.waits(), 0U);
}

TEST_F(CudaBackend, AHandOverIsAtMostOneRecordAndOneWait) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  const wrong_words wrong;
  host.limit = 8 * mib;
  const block first = make_large(8 * mib, a.ref());
  keep_busy(first, a.get());
  give_back(first, a.ref());
  const handover_calls calls;
  const block second = make_large(8 * mib, b.ref());
  EXPECT_EQ(second.data, first.data);
  EXPECT_LE(calls.records(), 1U);
  EXPECT_LE(calls.waits(), 1U);
  fill(second, 7, b.get());
  check(second, 7, wrong, b.get());
  EXPECT_EQ(wrong.count(), 0U);
  give_back(second, b.ref());
}

TEST_F(CudaBackend, OneEventCoversAllEarlierFreesOfAStream) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  host.limit = 16 * mib;
  std::vector<block> held;
  for (unsigned i = 0; i != 4; ++i) {
    held.push_back(make_large(4 * mib, a.ref()));
    keep_busy(held.back(), a.get());
  }
  for (const block& what : held) {
    give_back(what, a.ref());
  }
  const handover_calls calls;
  for (block& what : held) {
    what = make_large(4 * mib, b.ref());
    fill(what, 1, b.get());
  }
  EXPECT_LE(calls.records(), 1U);
  EXPECT_LE(calls.waits(), 1U);
  tested->take_back(where, held, b.ref());
}

// rmm#841: a pool that waits before it grows makes concurrent kernels run one after another.
TEST_F(CudaBackend, GrowthComesBeforeWaiting) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  const block first = make_large(8 * mib, a.ref());
  keep_busy(first, a.get());
  give_back(first, a.ref());
  const handover_calls calls;
  const block second = make_large(8 * mib, b.ref());
  EXPECT_EQ(calls.waits(), 0U);
  fill(second, 7, b.get());
  give_back(second, b.ref());
  // Without leave to grow it is told so, and nobody waits either.
  block_request request = ask(64 * mib, b.ref());
  request.may_grow = false;
  EXPECT_EQ(tested->allocate_large(request).error().code, errc::out_of_memory);
  EXPECT_EQ(calls.waits(), 0U);
}

TEST_F(CudaBackend, NeighboursOfSeveralStreamsServeTogether) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  const test_stream c(*tested, 3);
  const wrong_words wrong;
  host.limit = 8 * mib;
  // Both in one slab.
  give_back(make_large(8 * mib, a.ref()), a.ref());
  (void)memory();
  a.wait();
  const block low = make_large(4 * mib, a.ref());
  const block high = make_large(4 * mib, a.ref());
  ASSERT_EQ(static_cast<std::byte*>(low.data) + low.bytes, high.data);
  keep_busy(low, a.get());
  ASSERT_TRUE(tested->order(where, a.ref(), b.ref()).ok());
  keep_busy(high, b.get());
  give_back(low, a.ref());
  give_back(high, b.ref());
  const block both = make_large(8 * mib, c.ref());
  EXPECT_EQ(both.data, low.data);
  fill(both, 9, c.get());
  check(both, 9, wrong, c.get());
  EXPECT_EQ(wrong.count(), 0U);
  give_back(both, c.ref());
}

// What is left of neighbours that one stream has waited for is its own; others wait for it in turn.
TEST_F(CudaBackend, WhatIsLeftOfNeighboursIsInOrderToo) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  const test_stream c(*tested, 3);
  const test_stream d(*tested, 4);
  host.limit = 8 * mib;
  give_back(make_large(8 * mib, a.ref()), a.ref());
  const block low = make_large(4 * mib, a.ref());
  const block high = make_large(4 * mib, a.ref());
  ASSERT_TRUE(tested->order(where, a.ref(), b.ref()).ok());
  keep_busy(low, a.get());
  keep_busy(high, b.get());
  give_back(low, a.ref());
  give_back(high, b.ref());
  const block more = make_large(5 * mib, c.ref());
  EXPECT_EQ(more.data, low.data);
  const block rest = make_large(8 * mib - more.bytes, d.ref());
  EXPECT_EQ(rest.data, static_cast<std::byte*>(more.data) + more.bytes);
  fill(rest, 2, d.get());
  fill(more, 1, c.get());
  give_back(more, c.ref());
  give_back(rest, d.ref());
}

TEST_F(CudaBackend, ABlockOfSeveralStreamsWaitsForAll) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  const test_stream c(*tested, 3);
  host.limit = 8 * mib;
  const std::array both = {a.ref(), b.ref()};
  for (const std::size_t bytes : {8 * mib, 16 * kib}) {
    SCOPED_TRACE(bytes);
    const bool large = bytes > mib;
    std::array<block, 4> blocks = {};
    const std::size_t n = large ? 1 : blocks.size();
    if (large) {
      blocks[0] = make_large(bytes, a.ref());
    } else {
      ASSERT_EQ(tested->refill(ask(bytes, a.ref()), blocks).count, n);
    }
    ASSERT_TRUE(tested->order(where, a.ref(), b.ref()).ok());
    for (std::size_t i = 0; i != n; ++i) {
      const wrong_words wrong;
      fill(blocks[i], 3, a.get());
      ASSERT_TRUE(tested->order(where, a.ref(), b.ref()).ok());
      check(blocks[i], 3, wrong, a.get());
      check(blocks[i], 3, wrong, b.get());
      tested->take_back_after(where, blocks[i], both);
      EXPECT_EQ(wrong.count(), 0U);
    }
    EXPECT_EQ(tested->verify(), nullptr);
    for (const test_stream* s : {&c, &b, &a}) {
      if (large) {
        blocks[0] = make_large(bytes, s->ref());
      } else {
        ASSERT_EQ(tested->refill(ask(bytes, s->ref()), blocks).count, n);
      }
      for (std::size_t i = 0; i != n; ++i) {
        fill(blocks[i], 4, s->get());
      }
      tested->take_back(where, std::span(blocks).first(n), s->ref());
    }
    (void)tested->trim(where, 0);
  }
}

TEST_F(CudaBackend, MoreStreamsThanASetHoldsMeanAll) {
  std::vector<test_stream> streams;
  std::vector<stream_ref> all;
  for (std::uint32_t i = 1; i != 8; ++i) {
    streams.emplace_back(*tested, i);
    all.push_back(streams.back().ref());
  }
  host.limit = 8 * mib;
  const block held = make_large(8 * mib, all[0]);
  fill(held, 1, streams[0].get());
  const wrong_words wrong;
  for (const test_stream& s : streams) {
    ASSERT_TRUE(tested->order(where, all[0], s.ref()).ok());
    check(held, 1, wrong, s.get());
  }
  tested->take_back_after(where, held, all);
  const test_stream last(*tested, 9);
  const block again = make_large(8 * mib, last.ref());
  fill(again, 2, last.get());
  EXPECT_EQ(wrong.count(), 0U);
  give_back(again, last.ref());
}

TEST_F(CudaBackend, SmallBlocksFreedOnAnotherStreamComeBackInOrder) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  const wrong_words wrong;
  host.limit = 2 * mib;
  for (unsigned round = 0; round != 8; ++round) {
    // All that the limit allows: the other stream's frees have to be used.
    std::vector<block> held(2 * mib / (32 * kib));
    const std::size_t n = tested->refill(ask(32 * kib, a.ref()), held).count;
    EXPECT_GE(n, held.size() * 3 / 4);
    held.resize(n);
    for (const block& what : held) {
      fill(what, round, a.get());
    }
    ASSERT_TRUE(tested->order(where, a.ref(), b.ref()).ok());
    for (const block& what : held) {
      check(what, round, wrong, b.get());
    }
    const handover_calls calls;
    tested->take_back(where, held, b.ref());
    EXPECT_EQ(calls.records() + calls.waits(), 0U);
    EXPECT_EQ(tested->verify(), nullptr);
  }
  EXPECT_EQ(wrong.count(), 0U);
}

TEST_F(CudaBackend, SpansOfAnotherStreamServeWhenNothingElseIsLeft) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  host.limit = 2 * mib;
  std::vector<block> held(2 * mib / (4 * kib));
  held.resize(tested->refill(ask(4 * kib, a.ref()), held).count);
  // Every span of `a` keeps a block in use.
  std::vector<block> kept;
  for (std::size_t i = 0; i != held.size(); ++i) {
    fill(held[i], 1, a.get());
    if (i % 8 == 0) {
      kept.push_back(held[i]);
    } else {
      give_back(held[i], a.ref());
    }
  }
  std::array<block, 8> more = {};
  const handover_calls calls;
  ASSERT_EQ(tested->refill(ask(4 * kib, b.ref()), more).count, more.size());
  EXPECT_LE(calls.records(), 1U);
  EXPECT_LE(calls.waits(), 1U);
  for (const block& what : more) {
    fill(what, 2, b.get());
  }
  tested->take_back(where, more, b.ref());
  tested->take_back(where, kept, a.ref());
}

TEST_F(CudaBackend, ARetiredStreamsMemoryServesOthers) {
  const test_stream b(*tested, 2);
  const wrong_words wrong;
  host.limit = 8 * mib;
  const std::uint64_t before = calls_of("cudaDeviceSynchronize");
  for (unsigned round = 0; round != 12; ++round) {
    block held = {};
    {
      // The number is used again, and on a GPU the handle may be.
      const test_stream a(*tested, 1);
      held = make_large(8 * mib, a.ref());
      keep_busy(held, a.get());
      give_back(held, a.ref());
    }
    const block again = make_large(8 * mib, b.ref());
    EXPECT_EQ(again.data, held.data);
    fill(again, round, b.get());
    check(again, round, wrong, b.get());
    give_back(again, b.ref());
  }
  EXPECT_EQ(calls_of("cudaDeviceSynchronize"), before);
  EXPECT_EQ(wrong.count(), 0U);
}

TEST_F(CudaBackend, OrderMakesOneStreamWaitForAnother) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  const wrong_words wrong;
  const block held = make_large(2 * mib, a.ref());
  keep_busy(held, a.get());
  fill(held, 123, a.get());
  ASSERT_TRUE(tested->order(where, a.ref(), b.ref()).ok());
  check(held, 123, wrong, b.get());
  EXPECT_EQ(wrong.count(), 0U);
  EXPECT_TRUE(tested->order(where, a.ref(), a.ref()).ok());
  give_back(held, b.ref());
}

TEST_F(CudaBackend, StreamsHaveIdsOfTheirOwn) {
  const test_stream a(*tested);
  const test_stream b(*tested);
  const result<std::uint64_t> first = tested->stream_id(where, a.ref());
  const result<std::uint64_t> second = tested->stream_id(where, b.ref());
  const result<std::uint64_t> none = tested->stream_id(where, {});
  ASSERT_TRUE(first && second && none);
  EXPECT_NE(*first, *second);
  EXPECT_NE(*first, *none);
  EXPECT_EQ(*first, *tested->stream_id(where, a.ref()));
  EXPECT_EQ(*none, *tested->stream_id(where, cuda::stream(nullptr)));
  EXPECT_EQ(tested->stream_id(device::cuda(77), a.ref()).error().code, errc::unknown_device);
}

TEST_F(CudaBackend, TheLegacyStreamOrdersWithBlockingStreams) {
  const test_stream a(*tested, 1, cudaStreamDefault);
  const wrong_words wrong;
  host.limit = 8 * mib;
  const block first = make_large(8 * mib, {});
  keep_busy(first, cudaStreamLegacy);
  give_back(first, {});
  const block second = make_large(8 * mib, a.ref());
  fill(second, 3, a.get());
  give_back(second, a.ref());
  const block third = make_large(8 * mib, cuda::stream(cudaStreamLegacy));
  fill(third, 4, cudaStreamLegacy);
  check(third, 4, wrong, cudaStreamLegacy);
  give_back(third, {});
  EXPECT_EQ(wrong.count(), 0U);
}

// The handle means another stream on another thread: what a thread frees is recorded by itself.
TEST_F(CudaBackend, APerThreadDefaultStreamRecordsEarly) {
  stream_ref own = cuda::stream(cudaStreamPerThread);
  own.number = 1;
  const test_stream b(*tested, 2);
  const wrong_words wrong;
  host.limit = 8 * mib;
  block held = {};
  std::thread([&] {
    held = make_large(8 * mib, own);
    keep_busy(held, cudaStreamPerThread);
    const handover_calls calls;
    give_back(held, own);
    EXPECT_EQ(calls.records(), cudasim_is_present() != 0 ? 1U : 0U);
  }).join();
  const handover_calls calls;
  const block again = make_large(8 * mib, b.ref());
  EXPECT_EQ(calls.records(), 0U);
  fill(again, 1, b.get());
  check(again, 1, wrong, b.get());
  EXPECT_EQ(wrong.count(), 0U);
  give_back(again, b.ref());
}

TEST_F(CudaBackend, APerThreadDefaultStreamsBlocksMayBeGivenBackByAnyThread) {
  stream_ref own = cuda::stream(cudaStreamPerThread);
  own.number = 1;
  const test_stream b(*tested, 2);
  const wrong_words wrong;
  host.limit = 8 * mib;
  block held = {};
  std::thread([&] {
    held = make_large(8 * mib, own);
    keep_busy(held, cudaStreamPerThread);
  }).join();
  give_back(held, own);
  const block again = make_large(8 * mib, b.ref());
  fill(again, 1, b.get());
  check(again, 1, wrong, b.get());
  EXPECT_EQ(wrong.count(), 0U);
  give_back(again, b.ref());
}

}  // namespace
}  // namespace tidepool::test
