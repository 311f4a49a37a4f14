// SPDX-License-Identifier: Apache-2.0
//
// Streams of stream-ordered devices. The backend remembers on which stream it was asked for each
// block: a tensor's block is always one of its own stream's.
#include "../support/heap_backend.hpp"
#include "support.hpp"

#include <set>
#include <string>
#include <thread>

namespace tidepool::test {
namespace {

constexpr device gpu = device::cuda(0);
constexpr std::size_t most_lanes = 4096;  // of a pool, each device's own included

/// The n-th stream an application could have made.
[[nodiscard]] stream_ref raw_stream(std::uintptr_t n) {
  return {.handle = reinterpret_cast<void*>(0x1000 + 16 * n), .kind = stream_kind::ordinary};
}

class PoolStream : public ::testing::Test {
 protected:
  [[nodiscard]] pool make(const pool_options& options = {}) {
    auto made = std::make_unique<heap_backend>(log, gpu, 64, true);
    memory = made.get();
    return pool(std::move(made), misuses.options(options));
  }
  [[nodiscard]] static stream_ref attached(pool& p, std::uintptr_t n) {
    const result<stream_ref> made = p.attach(gpu, raw_stream(n));
    EXPECT_TRUE(made.has_value()) << to_string(made.error());
    return made ? *made : stream_ref{};
  }
  /// A tensor on the stream, in a block of that stream.
  [[nodiscard]] tensor on(pool& p, const stream_ref& stream, std::size_t bytes = 1000) {
    tensor made = p.allocate(bytes, gpu, {.stream = stream});
    EXPECT_EQ(memory->stream_of(made.data()).handle, stream.handle);
    const result<tensor_info> info = p.info(made.id());
    EXPECT_TRUE(info.has_value());
    EXPECT_EQ(info ? info->stream : 0, memory->stream_of(made.data()).number);
    return made;
  }
  void TearDown() override {
    EXPECT_EQ(log.handed_out.load(), 0U);
    EXPECT_EQ(log.wrong_returns.load(), 0U) << "each block goes back on the stream it came from";
    EXPECT_TRUE(misuses.take().empty());
  }
  /// Nothing alive; everything goes back.
  static void expect_balanced(pool& p) {
    const statistics s = p.statistics();
    EXPECT_EQ(s.total.live, 0U);
    EXPECT_EQ(s.total.requested_bytes, 0U);
    EXPECT_EQ(s.total.allocations, s.total.frees);
    EXPECT_EQ(s.total.front_hits + s.total.ready_hits + s.total.refills, s.total.allocations);
    EXPECT_EQ(p.verify(), nullptr);
    EXPECT_EQ(p.trim().reserved_bytes, 0U);
    EXPECT_EQ(p.statistics().devices[0].cached_bytes, 0U);
    EXPECT_EQ(p.verify(), nullptr);
  }

  heap_log log;
  misuse_log misuses;
  heap_backend* memory = nullptr;  // the pool's
};

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
  const stream_ref legacy{.handle = raw_stream(0).handle, .kind = stream_kind::legacy};
  EXPECT_TRUE(numbers.insert(p.attach(gpu, legacy)->number).second);
  const stream_ref per_thread{.kind = stream_kind::per_thread};
  EXPECT_TRUE(numbers.insert(p.attach(gpu, per_thread)->number).second);
  // No stream is the device's own lane.
  EXPECT_EQ(p.attach(gpu, {})->number, 0U);
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
  EXPECT_EQ(p.trim().reserved_bytes, 0U);
}

TEST_F(PoolStream, AStreamIsAttachedBeforeItIsUsed) {
  pool p = make();
  const result<tensor> made = p.try_allocate(100, gpu, {.stream = raw_stream(1)});
  EXPECT_EQ(made.error().code, errc::invalid_argument);
  EXPECT_EQ(p.retire(gpu, raw_stream(1)), errc::not_found);
  EXPECT_EQ(p.retire(device::cuda(9), raw_stream(1)), errc::unknown_device);
  EXPECT_EQ(p.retire(gpu, {}), errc::ok);
  const stream_ref known = attached(p, 2);
  // A number alone names nothing: the handle must be its own.
  stream_ref forged = raw_stream(1);
  forged.number = known.number;
  EXPECT_EQ(p.try_allocate(100, gpu, {.stream = forged}).error().code, errc::invalid_argument);
  forged.number = UINT32_MAX;
  EXPECT_EQ(p.try_allocate(100, gpu, {.stream = forged}).error().code, errc::invalid_argument);
  // And a reference without its number, or with another's, is found by its handle.
  const tensor unnumbered = on(p, raw_stream(2));
  EXPECT_EQ(p.info(unnumbered.id())->stream, known.number);
  stream_ref misnumbered = known;
  misnumbered.number = UINT32_MAX;
  const tensor found = on(p, misnumbered);
  EXPECT_EQ(p.info(found.id())->stream, known.number);
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

TEST_F(PoolStream, FreeingOnAnotherStreamLeavesTheBlockToItsOwn) {
  pool p = make();
  const stream_ref a = attached(p, 1);
  const stream_ref b = attached(p, 2);
  for (int i = 0; i < 50; ++i) {
    tensor t = on(p, a);
    void* const data = t.data();
    if (i % 2 == 0) {
      EXPECT_EQ(p.deallocate(t.release(), b), errc::ok);
    } else {
      t.reset(b);
    }
    const tensor other = on(p, b);  // on() sees that it is no block of a's
    EXPECT_NE(other.data(), data);
  }
  expect_balanced(p);
}

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
  EXPECT_EQ(p.statistics().total.live, 200U);
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
    const statistics s = p.statistics();
    EXPECT_EQ(s.total.allocations, allocations) << cached;
    EXPECT_EQ(s.total.live, held.size()) << cached;
    EXPECT_EQ(s.total.requested_bytes, requested) << cached;
    EXPECT_EQ(s.total.front_hits + s.total.ready_hits + s.total.refills, allocations) << cached;
    EXPECT_EQ(p.verify(), nullptr);
    held.clear();
    expect_balanced(p);
  }
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
  EXPECT_EQ(p.statistics().total.live, 1U);
  EXPECT_EQ(p.verify(), nullptr);
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
  EXPECT_EQ(p.verify(), nullptr);
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
  EXPECT_EQ(p.statistics().total.allocations, 300U);
  expect_balanced(p);
}

TEST_F(PoolStream, TooManyStreamsAreRefusedAndTheOthersWork) {
  pool p = make();
  for (std::uintptr_t n = 0; n < most_lanes - 1; ++n) {  // the device has a lane of its own
    ASSERT_TRUE(p.attach(gpu, raw_stream(n)).has_value()) << n;
  }
  const result<stream_ref> refused = p.attach(gpu, raw_stream(most_lanes));
  EXPECT_EQ(refused.error().code, errc::too_many);
  EXPECT_NE(to_string(refused.error()).find("4096"), std::string::npos);
  EXPECT_TRUE(p.attach(gpu, raw_stream(5)).has_value());  // known already
  const stream_ref last = attached(p, most_lanes - 2);
  EXPECT_EQ(last.number, most_lanes - 1);
  tensor t = on(p, last);
  tensor u = on(p, raw_stream(most_lanes - 3));
  EXPECT_EQ(p.statistics().total.live, 2U);
  EXPECT_EQ(p.verify(), nullptr);
  t.reset();
  u.reset();
  EXPECT_EQ(p.retire(gpu, last), errc::ok);
  EXPECT_EQ(memory->blocks_on(last), 0U);
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
