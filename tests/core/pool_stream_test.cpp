// SPDX-License-Identifier: Apache-2.0
//
// Streams of stream-ordered devices: attaching them, and which lane a tensor's block comes from.
#include "../support/sanitizers.hpp"
#include "stream_support.hpp"

namespace tidepool::test {
namespace {

TEST_F(PoolStream, AttachingGivesEachStreamOneNumber) {
  pool p = make();
  std::set<std::uint32_t> numbers;
  for (std::uintptr_t n = 0; n < 40; ++n) {
    const stream_ref first = attached(p, n);
    EXPECT_NE(first.number, 0U);
    EXPECT_TRUE(numbers.insert(first.number).second) << n;
    EXPECT_EQ(attached(p, n), first);
    EXPECT_EQ(*p.attach(gpu, first), first);  // with its number, too
    stream_ref forged = first;
    forged.number = first.number == 1 ? 2 : 1;
    EXPECT_EQ(*p.attach(gpu, forged), first);
  }
  // The same handle of another kind is another stream.
  const stream_ref per_thread{.handle = raw_stream(0).handle, .kind = stream_kind::per_thread};
  EXPECT_EQ(p.attach(gpu, per_thread)->number, 0U) << "another one in each thread";
  tensor mine = p.allocate(100, gpu, {.stream = per_thread});
  EXPECT_TRUE(numbers.insert(p.info(mine.id())->stream).second);
  // No stream, and the legacy one, are the device's own lane.
  EXPECT_EQ(p.attach(gpu, {})->number, 0U);
  EXPECT_EQ(p.attach(gpu, {.handle = raw_stream(1).handle, .kind = stream_kind::legacy})->number,
            0U);
  EXPECT_EQ(p.attach(device::cuda(1), raw_stream(0)).error().code, errc::unknown_device);
}

TEST_F(PoolStream, DevicesThatAreNotOrderedTakeAnyStreamAndKeepOneLane) {
  std::vector<std::unique_ptr<backend>> both;
  both.push_back(std::make_unique<heap_backend>(log));
  both.push_back(std::make_unique<heap_backend>(log, gpu, 64, true));
  pool p(std::move(both), misuses.options());
  const result<stream_ref> on_host = p.attach(device::cpu(), raw_stream(7));
  ASSERT_TRUE(on_host.has_value());
  EXPECT_EQ(on_host->number, 0U);
  EXPECT_EQ(on_host->handle, raw_stream(7).handle);
  tensor host = p.allocate(100, device::cpu(), {.stream = raw_stream(8)});  // never attached
  EXPECT_EQ(p.info(host.id())->stream, 0U);
  const void* const data = host.data();
  host.reset(raw_stream(9));
  tensor again = p.allocate(100, device::cpu(), {.stream = raw_stream(10)});
  EXPECT_EQ(again.data(), data);
  again.reset();
  EXPECT_EQ(p.retire(device::cpu(), raw_stream(7)), errc::ok);
  EXPECT_EQ(p.retire(gpu, raw_stream(7)), errc::not_found);
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
}

TEST_F(PoolStream, AStreamIsAttachedAtItsFirstUse) {
  pool p = make();
  EXPECT_EQ(p.retire(gpu, raw_stream(1)), errc::not_found);
  EXPECT_EQ(p.retire(device::cuda(9), raw_stream(1)), errc::unknown_device);
  EXPECT_EQ(p.retire(gpu, {}), errc::ok);
  tensor first = p.allocate(100, gpu, {.stream = raw_stream(1)});
  const std::uint32_t number = p.info(first.id())->stream;
  EXPECT_NE(number, 0U);
  EXPECT_EQ(attached(p, 1).number, number);
  const stream_ref known = attached(p, 2);
  // A number alone names nothing: the handle must be its own.
  stream_ref forged = raw_stream(1);
  forged.number = known.number;
  EXPECT_EQ(p.info(p.allocate(100, gpu, {.stream = forged}).id())->stream, number);
  forged.number = UINT32_MAX;
  EXPECT_EQ(p.info(p.allocate(100, gpu, {.stream = forged}).id())->stream, number);
  // And a reference without its number, or with another's, is found by its handle.
  EXPECT_EQ(p.info(on(p, raw_stream(2)).id())->stream, known.number);
  stream_ref misnumbered = known;
  misnumbered.number = UINT32_MAX;
  EXPECT_EQ(p.info(on(p, misnumbered).id())->stream, known.number);
}

// Numbered or not: what a thread uses again costs no call of the backend and is a front hit.
TEST_F(PoolStream, AThreadThatGoesOnWithAStreamAsksNobody) {
  pool p = make();
  for (const stream_ref& stream :
       {attached(p, 1), raw_stream(2), stream_ref{},
        stream_ref{.handle = raw_stream(3).handle, .kind = stream_kind::per_thread}}) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, 300 * kib, 3 * mib}) {
      p.allocate(bytes, gpu, {.stream = stream}).reset();
      const statistics before = p.control().statistics();
      const std::uint64_t asked = log.stream_ids;
      const std::size_t made = log.made;
      for (int i = 0; i < 50; ++i) {
        p.allocate(bytes, gpu, {.stream = stream}).reset();
      }
      const statistics since = p.control().statistics().since(before);
      EXPECT_EQ(since.total.front_hits, 50U) << bytes;
      EXPECT_EQ(log.stream_ids.load(), asked);
      EXPECT_EQ(log.made.load(), made);
    }
  }
  expect_balanced(p);
}

TEST_F(PoolStream, SizesThatCannotBeHaveTheSameAnswersOnAStream) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  p.allocate(1000, gpu, {.stream = a}).reset();
  for (const std::size_t bytes :
       {SIZE_MAX, SIZE_MAX - 62, SIZE_MAX / 2 + 1, std::size_t{1} << 50}) {
    EXPECT_EQ(p.try_allocate(bytes, gpu, {.stream = a}).error().code, errc::out_of_memory);
  }
  const tensor empty = p.allocate(0, gpu, {.stream = a});
  EXPECT_EQ(empty.data(), nullptr);
  const name_id never = name_id::from_value(12345);
  EXPECT_EQ(p.try_allocate(100, gpu, {.stream = a, .name = never}).error().code,
            errc::invalid_argument);
}

TEST_F(PoolStream, BlocksAreReusedOnTheirOwnStreamOnly) {
  for (const std::size_t bytes : {std::size_t{100}, 5 * kib, 300 * kib, 3 * mib}) {
    pool p = make();
    const stream_ref a = attached(p, 1);
    const stream_ref b = attached(p, 2);
    tensor first = on(p, a, bytes);
    void* const data = first.data();
    first.reset();
    EXPECT_EQ(memory->stream_of(data), a) << "it is kept, not given back";
    const tensor other = on(p, b, bytes);
    const tensor none = on(p, {}, bytes);
    EXPECT_NE(other.data(), data);
    EXPECT_NE(none.data(), data);
    const tensor again = on(p, a, bytes);
    EXPECT_EQ(again.data(), data);
  }
}

TEST_F(PoolStream, PartsSayTheStreamOfTheirTensor) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  tensor whole = on(p, a);
  const result<tensor> part = p.slice(whole, 100, 100);
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(p.info(part->id())->stream, a.number);
  const tensor empty = p.allocate(0, gpu, {.stream = a});
  EXPECT_EQ(p.info(empty.id())->stream, a.number);
  void* const data = whole.data();
  whole.reset();  // the part keeps the block, and it stays the stream's
  EXPECT_EQ(memory->stream_of(data), a);
  EXPECT_NE(on(p, a).data(), data);
}

// The work of b that comes after the free may use the memory at once; that of a may not.
TEST_F(PoolStream, FreeingOnAnotherThreadLeavesTheBlockToItsStream) {
  pool p = make();
  std::vector<stream_ref> streams;
  for (std::uintptr_t n = 0; n < 5; ++n) {
    streams.push_back(attached(p, n));
  }
  std::vector<tensor> made;
  for (int i = 0; i < 200; ++i) {
    made.push_back(on(p, streams[static_cast<std::size_t>(i) % streams.size()]));
  }
  std::thread([&] {
    made.clear();
    for (int i = 0; i < 200; ++i) {  // from what this thread keeps now
      made.push_back(on(p, streams[static_cast<std::size_t>(i * i) % streams.size()]));
    }
  }).join();
  EXPECT_EQ(p.control().statistics().total.live, 200U);
  made.clear();
  expect_balanced(p);
}

TEST_F(PoolStream, LanesBeyondThoseThatThreadsCacheForWorkToo) {
  for (const std::size_t cached : {std::size_t{0}, std::size_t{2}, std::size_t{16}}) {
    pool p = make({.max_cached_lanes = cached});
    std::vector<stream_ref> streams{{}};
    for (std::uintptr_t n = 1; n < 40; ++n) {
      streams.push_back(attached(p, n));
    }
    std::vector<tensor> held;
    std::uint64_t allocations = 0;
    std::size_t requested = 0;
    for (int round = 0; round < 6; ++round) {
      for (const stream_ref& s : streams) {
        held.push_back(on(p, s, 700));
        ++allocations;
      }
      if (round % 2 == 1) {
        held.erase(held.begin(), held.begin() + 70);
      }
    }
    for (const tensor& t : held) {
      requested += t.bytes();
    }
    const statistics s = p.control().statistics();
    EXPECT_EQ(s.total.allocations, allocations) << cached;
    EXPECT_EQ(s.total.live, held.size()) << cached;
    EXPECT_EQ(s.total.requested_bytes, requested) << cached;
    EXPECT_EQ(s.total.front_hits + s.total.ready_hits + s.total.refills, allocations) << cached;
    EXPECT_EQ(p.control().verify(), nullptr);
    held.clear();
    expect_balanced(p);
  }
}

// A tensor that outlives its stream ends in the order of the default one, and only then may its
// lane serve another stream.
TEST_F(PoolStream, TooManyStreamsAreRefusedAndTheOthersWork) {
  if (thread_sanitized) {
    GTEST_SKIP() << "one thread, for 25 s: there is nothing to find";
  }
  pool p = make();
  for (std::uintptr_t n = 0; n < most_lanes - 1; ++n) {  // the device has a lane of its own
    ASSERT_TRUE(p.attach(gpu, raw_stream(n)).has_value()) << n;
  }
  const result<stream_ref> refused = p.attach(gpu, raw_stream(most_lanes));
  EXPECT_EQ(refused.error().code, errc::too_many);
  EXPECT_NE(to_string(refused.error()).find("4096"), std::string::npos);
  const auto none = p.try_allocate(100, gpu, {.stream = raw_stream(most_lanes)});
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(to_string(none.error()).find("max_tensors"), std::string::npos);
  EXPECT_NE(to_string(none.error()).find("retire"), std::string::npos) << to_string(none.error());
  EXPECT_NE(p.control().report().suggestion.find("retire"), std::string::npos);
  EXPECT_TRUE(p.attach(gpu, raw_stream(5)).has_value());  // known already
  const stream_ref last = attached(p, most_lanes - 2);
  EXPECT_EQ(last.number, most_lanes - 1);
  tensor t = on(p, last);
  tensor u = on(p, raw_stream(most_lanes - 3));
  EXPECT_EQ(p.control().statistics().total.live, 2U);
  EXPECT_EQ(p.control().verify(), nullptr);
  t.reset();
  u.reset();
  EXPECT_EQ(p.retire(gpu, last), errc::ok);
  EXPECT_EQ(memory->blocks_on(last), 0U);
  expect_balanced(p);
}

}  // namespace
}  // namespace tidepool::test
