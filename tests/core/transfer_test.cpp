// SPDX-License-Identifier: Apache-2.0
//
// pool::copy, fill, prefetch, advise and synchronise on host memory: ranges, dead tensors, and what
// a backend cannot do.
#include "support.hpp"

#include <algorithm>

namespace tidepool::test {
namespace {

class Transfer : public ::testing::Test {
 protected:
  [[nodiscard]] static std::vector<unsigned char> bytes_of(const tensor& t) {
    const auto all = t.as<unsigned char>();
    return {all.begin(), all.end()};
  }
  void TearDown() override { EXPECT_TRUE(misuses.take().empty()); }

  misuse_log misuses;
  pool p{cpu::make_backend(), misuses.options()};
};

TEST_F(Transfer, FillsAndCopiesWholeTensorsAndRanges) {
  tensor from = p.allocate(1000);
  tensor to = p.allocate(1500);
  ASSERT_TRUE(p.fill(from.id(), 0x11).ok());
  ASSERT_TRUE(p.fill(to.id(), 0x22).ok());
  ASSERT_TRUE(p.copy(to, from).ok());
  std::vector<unsigned char> expected(1500, 0x22);
  std::fill_n(expected.begin(), 1000, 0x11);
  EXPECT_EQ(bytes_of(to), expected);
  ASSERT_TRUE(p.fill(from.id(), 0x33).ok());
  ASSERT_TRUE(
      p.copy({.dst = to.id(), .src = from.id(), .dst_offset = 1400, .src_offset = 900}).ok());
  std::fill_n(expected.begin() + 1400, 100, 0x33);
  EXPECT_EQ(bytes_of(to), expected);
  ASSERT_TRUE(
      p.copy({.dst = to.id(), .src = from.id(), .dst_offset = 7, .src_offset = 1, .bytes = 2})
          .ok());
  std::fill_n(expected.begin() + 7, 2, 0x33);
  EXPECT_EQ(bytes_of(to), expected);
}

TEST_F(Transfer, RangesBeyondTheEndAreRefusedAndNothingIsWritten) {
  tensor from = p.allocate(100);
  tensor to = p.allocate(50);
  ASSERT_TRUE(p.fill(to.id(), 1).ok());
  ASSERT_TRUE(p.fill(from.id(), 2).ok());
  const copy_request good{.dst = to.id(), .src = from.id(), .bytes = 50};
  ASSERT_TRUE(p.copy(good).ok());
  ASSERT_TRUE(p.fill(to.id(), 1).ok());
  const auto refused = [&](auto change) {
    copy_request bad = good;
    change(bad);
    EXPECT_EQ(p.copy(bad).code, errc::invalid_argument);
    EXPECT_EQ(bytes_of(to), std::vector<unsigned char>(50, 1));
  };
  refused([](auto& r) { r.bytes = 51; });
  refused([](auto& r) { r.bytes = SIZE_MAX; });  // all of src
  refused([](auto& r) { r.dst_offset = 1; });
  refused([](auto& r) { r.dst_offset = 51; });
  refused([](auto& r) { r.src_offset = 51; });
  refused([](auto& r) { r.src_offset = SIZE_MAX; });
  refused([](auto& r) { r.dst_offset = SIZE_MAX; });
  refused([](auto& r) { r.bytes = SIZE_MAX - 1; });
}

TEST_F(Transfer, NothingIsMovedForZeroBytes) {
  const tensor empty = p.allocate(0);
  const tensor some = p.allocate(10);
  EXPECT_TRUE(p.copy(some, empty).ok());
  EXPECT_TRUE(p.copy({.dst = empty.id(), .src = some.id(), .bytes = 0}).ok());
  EXPECT_TRUE(p.fill(empty.id(), 9).ok());
  EXPECT_TRUE(p.prefetch(empty.id(), device::cpu()).ok());
  EXPECT_TRUE(p.advise(empty.id(), {}).ok());
}

TEST_F(Transfer, DeadTensorsAreMisuse) {
  const tensor live = p.allocate(10);
  const tensor_id dead = [&] { return p.allocate(10).id(); }();
  const auto is_stale = [&](const status& why) {
    EXPECT_EQ(why.code, errc::stale_id);
    EXPECT_TRUE(misuses.one(misuse_kind::stale_use, dead));
  };
  is_stale(p.copy({.dst = dead, .src = live.id()}));
  is_stale(p.copy({.dst = live.id(), .src = dead}));
  is_stale(p.fill(dead, 0));
  is_stale(p.prefetch(dead, device::cpu()));
  is_stale(p.advise(dead, {}));
}

TEST_F(Transfer, WhatHostMemoryCannotDoIsAnswered) {
  const tensor t = p.allocate(10);
  EXPECT_EQ(p.prefetch(t.id(), device::cuda(0)).code, errc::unsupported);
  EXPECT_EQ(p.advise(t.id(), {.what = memory_advice::read_mostly}).code, errc::unsupported);
  EXPECT_TRUE(p.synchronise(device::cpu()).ok());
  EXPECT_EQ(p.synchronise(device::cuda(0)).code, errc::unknown_device);
}

}  // namespace
}  // namespace tidepool::test
