// SPDX-License-Identifier: Apache-2.0
//
// A pool with host memory and a GPU: what operations on streams cost in driver calls, that memory
// is never touched out of order, copies between devices, and running out.
#include "pool_support.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

namespace tidepool::test {
namespace {

TEST_F(CudaPool, WarmOperationsOnOneStreamMakeNoDriverCall) {
  const pool_stream a(*p);
  const stream_ref per_thread = cuda::stream(cudaStreamPerThread);
  for (const stream_ref& stream :
       {a.attached(), a.raw(), stream_ref{}, cuda::stream(cudaStreamLegacy), per_thread}) {
    for (const std::size_t bytes : {std::size_t{100}, 5 * kib, 700 * kib, 3 * mib}) {
      p->allocate(bytes, gpu, {.stream = stream}).reset();
      const std::uint64_t before = calls_of_work();
      for (int i = 0; i < 100; ++i) {
        tensor t = p->allocate(bytes, gpu, {.stream = stream});
        i % 2 == 0 || stream == per_thread ? t.reset() : t.reset(stream);
      }
      EXPECT_EQ(calls_of_work(), before) << bytes;
    }
  }
}

// The memory of one stream, once it is given back, serves another after at most one event and wait.
TEST_F(CudaPool, AHandOverBetweenStreamsCostsAtMostOneRecordAndOneWait) {
  const pool_stream a(*p);
  const pool_stream b(*p);
  (void)p->control().set_limits(gpu, {.hard = 64 * mib});
  const wrong_words wrong;
  for (int round = 0; round < 10; ++round) {
    const pool_stream& from = round % 2 == 0 ? a : b;
    const pool_stream& to = round % 2 == 0 ? b : a;
    tensor first = p->allocate(40 * mib, gpu, {.stream = from.raw()});
    fill(block_of(first), 7, from.get());
    check(block_of(first), 7, wrong, from.get());
    first.reset();
    const std::uint64_t records =
        calls_of("cudaEventRecord") + calls_of("cudaEventRecordWithFlags");
    const std::uint64_t waits = calls_of("cudaStreamWaitEvent");
    tensor second = p->allocate(40 * mib, gpu, {.stream = to.raw()});
    EXPECT_LE(calls_of("cudaEventRecord") + calls_of("cudaEventRecordWithFlags"), records + 1);
    EXPECT_LE(calls_of("cudaStreamWaitEvent"), waits + 1);
    fill(block_of(second), 8, to.get());
    check(block_of(second), 8, wrong, to.get());
  }
  EXPECT_EQ(wrong.count(), 0U);
}

TEST_F(CudaPool, WhatAnotherStreamUsesIsNotReusedBeforeItIsDone) {
  const pool_stream a(*p);
  const pool_stream b(*p);
  const wrong_words wrong;
  for (const std::size_t bytes : {4 * kib, 3 * mib}) {
    for (int i = 0; i < 20; ++i) {
      tensor t = p->allocate(bytes, gpu, {.stream = a.raw()});
      fill(block_of(t), 1, a.get());
      order(a.get(), b.get());
      check(block_of(t), 1, wrong, b.get());
      EXPECT_EQ(p->record_use(t.id(), b.raw()), errc::ok);
      t.reset();
      // Its own stream goes on without waiting, in memory of its own.
      const tensor next = p->allocate(bytes, gpu, {.stream = a.raw()});
      fill(block_of(next), 2, a.get());
    }
  }
  EXPECT_EQ(wrong.count(), 0U);
}

TEST_F(CudaPool, ATensorThatEndsOnAnotherStreamIsThatStreamsAtOnce) {
  const pool_stream a(*p);
  const pool_stream b(*p);
  const wrong_words wrong;
  const stream_ref attached = b.attached();
  for (int i = 0; i < 20; ++i) {
    tensor t = p->allocate(4 * kib, gpu, {.stream = a.raw()});
    fill(block_of(t), 1, a.get());
    order(a.get(), b.get());
    check(block_of(t), 1, wrong, b.get());
    void* const data = t.data();
    const std::uint64_t before = calls_of_work();
    t.reset(attached);
    const tensor next = p->allocate(4 * kib, gpu, {.stream = attached});
    EXPECT_EQ(next.data(), data);
    EXPECT_EQ(calls_of_work(), before);
    fill(block_of(next), 2, b.get());
    check(block_of(next), 2, wrong, b.get());
  }
  EXPECT_EQ(wrong.count(), 0U);
}

TEST_F(CudaPool, ThreadsWorkOnTheirOwnDefaultStreams) {
  const wrong_words wrong;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      const stream_ref own = cuda::stream(cudaStreamPerThread);
      std::vector<tensor> held;
      for (unsigned i = 0; i < 60; ++i) {
        held.push_back(p->allocate(std::size_t{1} << (8 + i % 14), gpu, {.stream = own}));
        fill(block_of(held.back()), t << 16 | i, cudaStreamPerThread);
        check(block_of(held.back()), t << 16 | i, wrong, cudaStreamPerThread);
        if (i % 3 == 2) {
          held.erase(held.begin(), held.begin() + 2);
        }
      }
    });
  }
  for (std::thread& t : threads) {
    t.join();
  }
  EXPECT_EQ(wrong.count(), 0U);
}

TEST_F(CudaPool, TensorsMoveTheirBytesBetweenDevices) {
  const pool_stream a(*p);
  const std::size_t bytes = 100 * kib;
  tensor host = p->allocate(bytes);
  tensor back = p->allocate(bytes);
  std::vector<tensor> chain;
  for (const device_description& about : p->devices()) {
    if (about.where.kind() != device_kind::cpu) {
      chain.push_back(p->allocate(bytes, about.where, {.stream = a.raw()}));
    }
  }
  ASSERT_GE(chain.size(), 2U);
  for (std::size_t i = 0; i < bytes; ++i) {
    host.as<unsigned char>()[i] = static_cast<unsigned char>(i * 7);
  }
  const tensor* last = &host;
  for (const tensor& next : chain) {
    const status why = p->copy(next, *last, a.raw());
    ASSERT_TRUE(why.ok()) << to_string(why);
    last = &next;
  }
  ASSERT_TRUE(p->copy(back, *last, a.raw()).ok());
  ASSERT_TRUE(p->synchronise(gpu, a.raw()).ok());
  const auto sent = host.as<unsigned char>();
  const auto got = back.as<unsigned char>();
  EXPECT_TRUE(std::equal(sent.begin(), sent.end(), got.begin()));
  // Parts and fills.
  ASSERT_TRUE(p->fill(chain.front().id(), 0x5a, a.raw()).ok());
  ASSERT_TRUE(p->copy({.dst = back.id(),
                       .src = chain.front().id(),
                       .dst_offset = 10,
                       .src_offset = 1,
                       .bytes = 5,
                       .stream = a.raw()})
                  .ok());
  ASSERT_TRUE(p->synchronise(gpu, a.raw()).ok());
  EXPECT_EQ(got[9], static_cast<unsigned char>(63));
  EXPECT_EQ(std::count(got.begin() + 10, got.begin() + 15, 0x5a), 5);
  EXPECT_EQ(got[15], static_cast<unsigned char>(105));
}

// Staging: the host fills a pinned tensor, a copy reads it, it ends, and the next one is filled.
TEST_F(CudaPool, TheHostNeverWritesWhereACopyStillReads) {
  const device pinned = device::pinned(gpu);
  const pool_stream a(*p);
  for (const std::size_t bytes : {4 * kib, 200 * kib, 3 * mib}) {
    const tensor target = p->allocate(bytes, gpu, {.stream = a.raw()});
    for (unsigned i = 0; i < 12; ++i) {
      // By a stream at the beginning, at the end, or neither: then copy has noted it.
      const bool begins = i % 3 == 0;
      tensor staging = p->allocate(bytes, pinned, {.stream = begins ? a.raw() : stream_ref{}});
      std::memset(staging.data(), static_cast<int>(i), bytes);
      ASSERT_TRUE(p->copy(target, staging, a.raw()).ok());
      if (i % 3 == 1) {
        staging.reset(a.raw());
      }
    }
    tensor back = p->allocate(bytes);
    ASSERT_TRUE(p->copy(back, target, a.raw()).ok());
    ASSERT_TRUE(p->synchronise(gpu, a.raw()).ok());
    const auto got = back.as<unsigned char>();
    EXPECT_EQ(std::count(got.begin(), got.end(), 11), static_cast<std::ptrdiff_t>(bytes));
  }
}

TEST_F(CudaPool, AFreeThatIsOnlyPendingIsWaitedForBeforeAnAllocationFails) {
  const pool_stream a(*p);
  const pool_stream b(*p);
  (void)p->control().set_limits(gpu, {.hard = 48 * mib});
  const wrong_words wrong;
  tensor first = p->allocate(40 * mib, gpu, {.stream = a.raw()});
  fill(block_of(first), 3, a.get());
  check(block_of(first), 3, wrong, a.get());
  first.reset();  // the kernels have perhaps not begun
  const result<tensor> second = p->try_allocate(40 * mib, gpu, {.stream = b.raw()});
  ASSERT_TRUE(second.has_value()) << to_string(second.error());
  fill(block_of(*second), 4, b.get());
  EXPECT_EQ(p->try_allocate(40 * mib, gpu, {.stream = a.raw()}).error().code, errc::over_budget);
  EXPECT_EQ(wrong.count(), 0U);
}

TEST_F(CudaPool, WhoRunsOutLearnsWhatOthersHold) {
  const memory_info now = p->control().memory(gpu);
  void* other = nullptr;
  expect_success(cudaMalloc(&other, 64 * mib));
  const std::size_t foreign = p->control().memory(gpu).foreign_bytes;
  EXPECT_GE(foreign, has_gpu_alone() ? now.foreign_bytes + 64 * mib : 64 * mib);
  const tensor held = p->allocate(8 * mib, gpu, {.name = p->intern("kv.3")});
  // What the driver's own pool holds beyond our slabs counts as used by others.
  if (has_gpu_alone()) {
    EXPECT_LE(p->control().memory(gpu).foreign_bytes, foreign + 64 * mib);
  }
  try {
    (void)p->allocate(std::size_t{1} << 40, gpu);
    ADD_FAILURE() << "a terabyte";
  } catch (const out_of_memory& error) {
    EXPECT_EQ(error.device(), gpu);
    ASSERT_NE(error.report(), nullptr);
    const device_report& about = error.report()->devices[1];
    EXPECT_EQ(about.where, gpu);
    EXPECT_GE(about.foreign_bytes, 64 * mib);
    EXPECT_NE(error.report()->suggestion.find("kv.3"), std::string::npos)
        << error.report()->suggestion;
    EXPECT_NE(error.report()->suggestion.find("processes hold"), std::string::npos)
        << error.report()->suggestion;
  }
  expect_success(cudaFree(other));
}

TEST_F(CudaPool, ManagedTensorsArePrefetchedAndAdvised) {
  const device managed = device::managed(gpu);
  const auto known = p->devices();
  const auto about =
      std::find_if(known.begin(), known.end(), [&](const auto& d) { return d.where == managed; });
  if (about == known.end() || !about->can_migrate) {
    GTEST_SKIP() << "skipped: the GPU has no managed memory that moves";
  }
  const pool_stream a(*p);
  const wrong_words wrong;
  const tensor t = p->allocate(mib, managed, {.stream = a.raw()});
  EXPECT_TRUE(p->advise(t.id(), {.what = memory_advice::preferred_location, .of = gpu}).ok());
  EXPECT_TRUE(p->prefetch(t.id(), gpu, a.raw()).ok());
  fill(block_of(t), 9, a.get());
  EXPECT_TRUE(p->prefetch(t.id(), device::cpu(), a.raw()).ok());
  ASSERT_TRUE(p->synchronise(managed, a.raw()).ok());
  EXPECT_EQ(t.as<unsigned>()[1000], 9U);
  EXPECT_TRUE(
      p->advise(t.id(), {.what = memory_advice::preferred_location, .of = gpu, .take_back = true})
          .ok());
}

}  // namespace
}  // namespace tidepool::test
