// SPDX-License-Identifier: Apache-2.0
//
// lanes by itself: devices and what is claimed for them, lanes of streams and arenas, their keys.
#include "pool/lanes.hpp"

#include "../support/heap_backend.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace tidepool::detail {
namespace {

using test::heap_backend;
using test::heap_log;

constexpr device gpu = device::cuda(0);

class Lanes : public ::testing::Test {
 protected:
  [[nodiscard]] status add(lanes& some, std::vector<std::unique_ptr<backend>> backends) {
    const status why = some.add(std::move(backends), {.limits = {.hard = 1000, .soft = 1000}});
    if (why.ok()) {
      some.attach_backends();
    }
    return why;
  }
  [[nodiscard]] std::unique_ptr<backend> heap(device where, std::size_t alignment = 64) {
    return std::make_unique<heap_backend>(log, where, alignment, where == gpu);
  }
  void SetUp() override {
    std::vector<std::unique_ptr<backend>> two;
    two.push_back(heap(device::cpu()));
    two.push_back(heap(gpu, 256));
    ASSERT_TRUE(add(all, std::move(two)).ok());
    EXPECT_EQ(all.of_device(*all.find(gpu)).number, 1U);
  }
  [[nodiscard]] static stream_ref stream(std::uintptr_t n) {
    return {.handle = reinterpret_cast<void*>(0x1000 * n), .kind = stream_kind::ordinary};
  }
  [[nodiscard]] bool warm_path_knows(const lane& where) const {
    return all.keys.at[where.number].device.load() == where.device->where.bits();
  }

  heap_log log;
  lanes all{3};  // of which the first three are cached
};

TEST_F(Lanes, DevicesHaveNumbersAndLanes) {
  ASSERT_EQ(all.count(), 2U);
  device_entry* const second = all.find(gpu);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->number, 1U);
  EXPECT_EQ(second->alignment, 256U);
  EXPECT_EQ(&all.of_device(*second), &all.at(1));
  EXPECT_EQ(all.find(device::cuda(1)), nullptr);
  EXPECT_EQ(all.keys.lane_of(gpu.bits()), 1U);
  EXPECT_EQ(all.descriptions().size(), 2U);
  record slot;
  slot.lane = 1;
  EXPECT_EQ(&all.of(slot), &all.at(1));
}

TEST_F(Lanes, ADeviceHasALaneFromItsFirstUse) {
  lanes some(3);
  std::vector<std::unique_ptr<backend>> three;
  three.push_back(heap(device::cpu()));
  three.push_back(heap(device::cuda(1)));
  three.push_back(heap(gpu));
  ASSERT_TRUE(add(some, std::move(three)).ok());
  EXPECT_EQ(some.count(), 1U) << "the first device's, which the warm path takes for granted";
  EXPECT_EQ(some.keys.lane_of(gpu.bits()), most_cached_lanes);
  const auto opened = some.open(*some.find(gpu), {.stream = stream(1), .id = 11});
  ASSERT_NE(opened.where, nullptr);
  EXPECT_EQ(opened.where->number, 1U);
  EXPECT_EQ(some.keys.lane_of(gpu.bits()), most_cached_lanes) << "that is its stream's";
  EXPECT_EQ(some.of_device(*some.find(gpu)).number, 2U);
  EXPECT_EQ(some.keys.lane_of(gpu.bits()), 2U);
  EXPECT_EQ(&some.of_device(*some.find(gpu)), &some.at(2));
  EXPECT_EQ(some.of_device(*some.find(device::cuda(1))).number, 3U);
  EXPECT_EQ(some.keys.lane_of(device::cuda(1).bits()), most_cached_lanes) << "three are cached";
}

// Streams leave numbers for the lanes of all devices.
TEST_F(Lanes, ADeviceThatIsUsedLastHasALaneToo) {
  lanes some(3);
  std::vector<std::unique_ptr<backend>> two;
  two.push_back(heap(device::cpu()));
  two.push_back(heap(gpu));
  ASSERT_TRUE(add(some, std::move(two)).ok());
  for (std::uintptr_t n = 1; n <= most_lanes - 2; ++n) {
    ASSERT_NE(some.open(*some.find(gpu), {.stream = stream(n), .id = n}).where, nullptr) << n;
  }
  const auto refused = some.open(*some.find(gpu), {.stream = stream(5000), .id = 5000});
  EXPECT_EQ(refused.where, nullptr);
  EXPECT_EQ(refused.why.code, errc::too_many);
  EXPECT_EQ(some.of_device(*some.find(gpu)).number, most_lanes - 1);
}

TEST_F(Lanes, BackendsThatDoNotFitAreRefused) {
  const auto refused = [this](std::unique_ptr<backend> first, std::unique_ptr<backend> second) {
    std::vector<std::unique_ptr<backend>> list;
    list.push_back(std::move(first));
    list.push_back(std::move(second));
    lanes some(3);
    return add(some, std::move(list)).code;
  };
  EXPECT_EQ(refused(heap(gpu), heap(gpu)), errc::invalid_argument) << "twice the same device";
  EXPECT_EQ(refused(heap(gpu), nullptr), errc::invalid_argument);
  EXPECT_EQ(refused(heap(gpu, 96), heap(device::cpu())), errc::invalid_argument);
  EXPECT_EQ(refused(heap(gpu), heap(device::cpu())), errc::ok);
}

TEST_F(Lanes, ClaimsAreMadeAgainstDeviceAndPoolOrAgainstNeither) {
  all.reserved.set({.hard = 1500, .soft = 1500});
  EXPECT_TRUE(all.claim(device::cpu(), 900));
  EXPECT_FALSE(all.claim(device::cpu(), 101)) << "the device's limit";
  EXPECT_FALSE(all.claim(gpu, 700)) << "the pool's limit";
  EXPECT_EQ(all.find(gpu)->reserved.claimed(), 0U);
  EXPECT_EQ(all.reserved.claimed(), 900U);
  EXPECT_TRUE(all.claim(gpu, 600));
  all.unclaim(device::cpu(), 900);
  EXPECT_EQ(all.reserved.claimed(), 600U);
  EXPECT_FALSE(all.claim(device::cuda(7), 1));
  all.unclaim(device::cuda(7), 1);
  EXPECT_EQ(all.reserved.claimed(), 600U);
}

TEST_F(Lanes, AStreamKeepsItsLaneUntilItIsRetired) {
  device_entry& where = *all.find(gpu);
  const auto first = all.open(where, {.stream = stream(1), .id = 11});
  ASSERT_NE(first.where, nullptr);
  EXPECT_EQ(first.where->number, 2U);
  EXPECT_EQ(first.where->stream().number, 2U);
  EXPECT_TRUE(all.is_cached(*first.where));
  EXPECT_TRUE(warm_path_knows(*first.where));
  EXPECT_EQ(all.open(where, {.stream = stream(1), .id = 11}).where, first.where);
  EXPECT_EQ(all.find_open(where, stream(1), 0), first.where);
  EXPECT_EQ(all.find_open(where, stream(2), 0), nullptr);
  const auto second = all.open(where, {.stream = stream(2), .id = 12});
  ASSERT_NE(second.where, nullptr);
  EXPECT_FALSE(all.is_cached(*second.where));
  EXPECT_FALSE(second.where->is_arena);

  EXPECT_TRUE(all.begin_retire(*first.where, stream(2)));
  EXPECT_FALSE(all.begin_retire(*first.where, stream(2))) << "it is retired already";
  EXPECT_FALSE(warm_path_knows(*first.where));
  EXPECT_EQ(first.where->stream().handle, stream(2).handle) << "in whose order blocks are free";
  EXPECT_NE(all.open(where, {.stream = stream(3), .id = 13}).where, first.where)
      << "it still gives its blocks back";
  all.end_retire(*first.where);
  EXPECT_EQ(all.open(where, {.stream = stream(4), .id = 14}).where, first.where);
  EXPECT_TRUE(warm_path_knows(*first.where));
}

TEST_F(Lanes, ALaneWithLivingTensorsServesNobodyElse) {
  device_entry& where = *all.find(gpu);
  lane& gone = *all.open(where, {.stream = stream(1), .id = 11}).where;
  ASSERT_TRUE(all.begin_retire(gone, {}));
  gone.left = 1;
  all.end_retire(gone);
  EXPECT_NE(all.open(where, {.stream = stream(2), .id = 12}).where, &gone);
  gone.left = 0;
  EXPECT_EQ(all.open(where, {.stream = stream(3), .id = 13}).where, &gone);
}

TEST_F(Lanes, AHandleThatComesAgainIsTold) {
  device_entry& where = *all.find(gpu);
  lane& old = *all.open(where, {.stream = stream(1), .id = 11}).where;
  const auto again = all.open(where, {.stream = stream(1), .id = 99});
  EXPECT_EQ(again.where, nullptr);
  EXPECT_EQ(again.recycled, &old);
  EXPECT_TRUE(again.why.ok());
}

TEST_F(Lanes, PerThreadStreamsAreTheirThreads) {
  device_entry& where = *all.find(gpu);
  const stream_ref mine{.handle = reinterpret_cast<void*>(2), .kind = stream_kind::per_thread};
  lane& first = *all.open(where, {.stream = mine, .id = 1, .thread = 100}).where;
  lane& second = *all.open(where, {.stream = mine, .id = 2, .thread = 200}).where;
  EXPECT_NE(&first, &second);
  EXPECT_EQ(all.find_open(where, mine, 200), &second);
  EXPECT_EQ(all.keys.at[first.number].handle.load(), &first) << "no stream has this handle";
  std::vector<lane*> seen;
  all.for_each_of_thread(200, [&](lane& known) { seen.push_back(&known); });
  EXPECT_EQ(seen, std::vector<lane*>{&second});
}

TEST_F(Lanes, ACaptureClosesTheStreamsKey) {
  device_entry& where = *all.find(gpu);
  lane& captured = *all.open(where, {.stream = stream(1), .id = 11}).where;
  lane& other = *all.open(where, {.stream = stream(2), .id = 12}).where;
  lane* const arena = all.open_arena(where);
  ASSERT_NE(arena, nullptr);
  EXPECT_TRUE(arena->is_arena);
  ASSERT_TRUE(all.begin_capture(captured, *arena).ok());
  EXPECT_EQ(captured.captured_by, arena);
  EXPECT_FALSE(warm_path_knows(captured));
  EXPECT_EQ(all.begin_capture(captured, *arena).code, errc::invalid_argument);
  EXPECT_EQ(all.begin_capture(other, *arena).code, errc::invalid_argument) << "one at a time";
  all.end_capture(captured);
  EXPECT_EQ(captured.captured_by, nullptr);
  EXPECT_TRUE(warm_path_knows(captured));
  EXPECT_TRUE(all.begin_capture(other, *arena).ok());
}

TEST_F(Lanes, ThereAreNoMoreThanTheyCanBeNumbered) {
  device_entry& where = *all.find(gpu);
  std::uintptr_t n = 1;
  while (all.count() < most_lanes) {
    ASSERT_NE(all.open(where, {.stream = stream(n), .id = n}).where, nullptr);
    ++n;
  }
  EXPECT_EQ(all.open(where, {.stream = stream(n), .id = n}).why.code, errc::too_many);
  EXPECT_EQ(all.open_arena(where), nullptr);
}

}  // namespace
}  // namespace tidepool::detail
