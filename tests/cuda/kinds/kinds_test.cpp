// SPDX-License-Identifier: Apache-2.0
//
// A backend that serves several kinds of memory: what may be named, what it costs, and when memory
// for the host is idle. Random work on all kinds is in kinds_property_test.cpp.
#include "kinds_support.hpp"

#include <array>
#include <utility>

namespace tidepool::test {
namespace {

TEST_F(Kinds, AllThatTheGpuCanAreServed) {
  EXPECT_NE(described(*tested, gpu), nullptr);
  EXPECT_NE(described(*tested, gpu.with(memory_kind::plain)), nullptr);
  EXPECT_NE(described(*tested, device::pinned(gpu)), nullptr);
  int managed = 0;
  expect_success(cudaDeviceGetAttribute(&managed, cudaDevAttrManagedMemory, 0));
  EXPECT_EQ(described(*tested, device::managed(gpu)) != nullptr, managed != 0);
}

TEST_F(Kinds, NamedDevicesAreServedInTheirOrder) {
  const std::vector<device> named{device::pinned(std::uint8_t{0}), device::pinned(gpu), gpu};
  const auto made = cuda::try_make_backend({.devices = named});
  ASSERT_TRUE(made) << to_string(made.error());
  ASSERT_EQ((*made)->devices().size(), named.size());
  for (std::size_t i = 0; i != named.size(); ++i) {
    EXPECT_EQ((*made)->devices()[i].where, named[i]);
  }
}

TEST_F(Kinds, DevicesThatCannotBeNamedAreInvalid) {
  const auto code_of = [](std::vector<device> named) {
    return cuda::try_make_backend({.devices = std::move(named)}).error().code;
  };
  EXPECT_EQ(code_of({gpu, gpu}), errc::invalid_argument);
  EXPECT_EQ(code_of({device::cuda(1)}), errc::invalid_argument);
  EXPECT_EQ(code_of({device::cpu()}), errc::invalid_argument);
  EXPECT_EQ(code_of({device::pinned(device::cuda(1))}), errc::invalid_argument);
  EXPECT_EQ(code_of({device::pinned(gpu).with(memory_kind::plain)}), errc::invalid_argument);
  EXPECT_EQ(code_of({device::pinned(std::uint8_t{200})}), errc::unknown_device);
  if (described(*tested, device::managed(gpu)) == nullptr) {
    EXPECT_EQ(code_of({device::managed(gpu)}), errc::unsupported);
  }
  if (described(*tested, gpu.with(memory_kind::growable)) == nullptr) {
    EXPECT_EQ(code_of({gpu.with(memory_kind::growable)}), errc::unsupported);
  }
}

// A batch of what is held costs one question: does the stream capture? Memory for the host serves
// when the host knows that work on it is over: one record and one query more, with their questions:
// does the stream capture, and is the handle still its own?
TEST_F(Kinds, HeldMemoryOfEachKindCostsAFewCallsForABatch) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "calls are counted by cudasim";
  }
  const test_stream s(*tested, 1);
  for (const device_description& d : tested->devices()) {
    constexpr std::uint64_t rounds = 10;
    std::array<block, 8> blocks;
    ASSERT_EQ(tested->refill(ask_for(d.where, 4 * kib, s.ref()), blocks).count, blocks.size());
    const std::uint64_t before = calls_of(nullptr);
    for (std::uint64_t i = 0; i != rounds; ++i) {
      tested->take_back(d.where, blocks, s.ref());
      ASSERT_EQ(tested->refill(ask_for(d.where, 4 * kib, s.ref()), blocks).count, blocks.size());
    }
    EXPECT_LE(calls_of(nullptr) - before, (d.host_accessible ? 6 : 1) * rounds) << d.name;
    tested->take_back(d.where, blocks, s.ref());
    s.wait();
  }
}

// What no stream used is free at once, however busy the default stream is.
TEST_F(Kinds, MemoryForTheHostThatNoStreamUsedIsIdle) {
  for (const device_description& d : tested->devices()) {
    if (!d.host_accessible) {
      continue;
    }
    SCOPED_TRACE(d.name);
    const wrong_words wrong;
    for (const std::size_t bytes : {4 * kib, 3 * mib}) {
      const block busy = make_large_of(d.where, 2 * mib);
      fill(busy, 1, cudaStreamLegacy);
      const block held =
          bytes > mib ? make_large_of(d.where, bytes) : make_small_of(d.where, bytes);
      const std::size_t pending = tested->memory(d.where).pending_bytes;
      const std::uint64_t before = calls_of(nullptr);
      tested->take_back(d.where, {&held, 1}, {});
      EXPECT_EQ(tested->memory(d.where).pending_bytes, pending);
      EXPECT_EQ(calls_of(nullptr), before);
      const block again =
          bytes > mib ? make_large_of(d.where, bytes) : make_small_of(d.where, bytes);
      EXPECT_EQ(again.data, held.data);
      tested->take_back_after(d.where, again, std::array{stream_ref{}});
      EXPECT_EQ(tested->memory(d.where).pending_bytes, pending);
      tested->take_back(d.where, {&busy, 1}, cuda::stream(cudaStreamLegacy));
      expect_success(cudaDeviceSynchronize());
    }
  }
}

// Two neighbours, one idle and one done on a stream that nobody asked yet, are one free block.
TEST_F(Kinds, WhatIsDoneMergesBeforeMemoryForTheHostGrows) {
  for (const device_description& d : tested->devices()) {
    if (!d.host_accessible) {
      continue;
    }
    SCOPED_TRACE(d.name);
    const test_stream s(*tested, 1);
    const block whole = make_large_of(d.where, 12 * mib);
    tested->take_back(d.where, {&whole, 1}, {});
    const block first = make_large_of(d.where, 6 * mib);
    const block second = make_large_of(d.where, 6 * mib);
    const std::size_t reserved = tested->memory(d.where).reserved_bytes;
    fill(second, 1, s.get());
    s.wait();
    tested->take_back(d.where, {&first, 1}, {});
    tested->take_back(d.where, {&second, 1}, s.ref());
    const block again = make_large_of(d.where, 12 * mib);
    EXPECT_EQ(again.data, whole.data);
    EXPECT_EQ(tested->memory(d.where).reserved_bytes, reserved);
    tested->take_back(d.where, {&again, 1}, {});
  }
}

// Another stream's order says nothing to the host, which writes at once: under a limit the request
// waits for the work, or is refused, and never gets memory that work still uses.
TEST_F(Kinds, MemoryForTheHostIsInNobodysUseWhenItIsGiven) {
  for (const device_description& d : tested->devices()) {
    if (!d.host_accessible) {
      continue;
    }
    SCOPED_TRACE(d.name);
    const test_stream s(*tested, 1);
    const wrong_words wrong;
    host.limit = host.claimed.load() + 8 * mib;
    for (unsigned value = 1; value != 6; ++value) {
      const block held = make_large_of(d.where, 6 * mib);
      fill(held, value, s.get());
      check(held, value, wrong, s.get());
      tested->take_back(d.where, {&held, 1}, s.ref());
      const block next = make_large_of(d.where, 6 * mib);
      static_cast<unsigned*>(next.data)[0] = 0;  // cudasim reports it if work on it goes on
      tested->take_back(d.where, {&next, 1}, {});
    }
    EXPECT_EQ(wrong.count(), 0U);
    (void)tested->trim(d.where, 0);
    host.limit = SIZE_MAX;
  }
}

TEST_F(Kinds, AGrowableBlockGrowsInPlaceUnderWork) {
  const device growable = gpu.with(memory_kind::growable);
  if (described(*tested, growable) == nullptr) {
    GTEST_SKIP() << "this GPU cannot map memory";
  }
  const test_stream s(*tested, 1);
  const wrong_words wrong;
  const result<block> made = tested->allocate_large(ask_for(growable, 2 * mib, s.ref()));
  ASSERT_TRUE(made) << to_string(made.error());
  block held = *made;
  for (unsigned value = 1; value != 6; ++value) {
    fill(held, value, s.get());
    const result<std::size_t> longer = tested->extend(growable, held, held.bytes + 2 * mib);
    ASSERT_TRUE(longer) << to_string(longer.error());
    check(held, value, wrong, s.get());
    held.bytes = *longer;
  }
  EXPECT_EQ(wrong.count(), 0U);
  tested->take_back(growable, {&held, 1}, s.ref());
}

}  // namespace
}  // namespace tidepool::test
