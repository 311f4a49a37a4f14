// SPDX-License-Identifier: Apache-2.0
//
// The stack of ready records: order, fitting, what misuse puts in twice.
#include "cache/ready_list.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <set>

namespace tidepool::detail {
namespace {

class ReadyList : public ::testing::Test {
 protected:
  ReadyList() : records(std::make_unique<std::array<record, 64>>()) {
    for (std::size_t i = 0; i < records->size(); ++i) {
      at(i).capacity.store(1024);
      at(i).data.store(reinterpret_cast<void*>((i + 1) * 64));
    }
  }
  record& at(std::size_t i) { return (*records)[i]; }
  void put(std::size_t i) {
    record* const one = &at(i);
    EXPECT_EQ(list.put(std::span(&one, 1)), 0U);
  }
  [[nodiscard]] bool adds_up() const {
    return list.check([](const record&) {});
  }

  std::unique_ptr<std::array<record, 64>> records;
  ready_list list;
};

TEST_F(ReadyList, TakesTheNewestFirst) {
  for (std::size_t i = 0; i < 5; ++i) {
    put(i);
  }
  std::array<record*, 3> out;
  ASSERT_EQ(list.take(out, 1, 64), 3U);
  EXPECT_EQ(out[0], &at(4));
  EXPECT_EQ(out[1], &at(3));
  EXPECT_EQ(out[2], &at(2));
  EXPECT_EQ(list.count(), 2U);
  EXPECT_EQ(list.bytes(), 2048U);
  EXPECT_TRUE(adds_up());
}

TEST_F(ReadyList, TakesOnlyWhatFitsAndLeavesTheRestInOrder) {
  at(1).capacity.store(4096);
  at(3).data.store(reinterpret_cast<void*>(0x10000));
  for (std::size_t i = 0; i < 5; ++i) {
    put(i);
  }
  std::array<record*, 4> out;
  ASSERT_EQ(list.take(out, 2000, 64), 1U);
  EXPECT_EQ(out[0], &at(1));
  ASSERT_EQ(list.take(out, 1, 0x10000), 1U);
  EXPECT_EQ(out[0], &at(3));
  EXPECT_TRUE(adds_up());
  ASSERT_EQ(list.take(out, 1, 64), 3U);
  EXPECT_EQ(out[0], &at(4));
  EXPECT_EQ(out[1], &at(2));
  EXPECT_EQ(out[2], &at(0));
  EXPECT_EQ(list.bytes(), 0U);
}

TEST_F(ReadyList, LooksAtFewRecordsOnly) {
  at(0).capacity.store(4096);  // deepest of 64
  for (std::size_t i = 0; i < 64; ++i) {
    put(i);
  }
  std::array<record*, 1> out;
  EXPECT_EQ(list.take(out, 2000, 64), 0U);
  EXPECT_EQ(list.count(), 64U);
}

TEST_F(ReadyList, RefusesWhatIsInItAlready) {
  std::array<record*, 3> twice{&at(0), &at(1), &at(0)};
  EXPECT_EQ(list.put(twice), 1U);
  EXPECT_EQ(list.count(), 2U);
  EXPECT_TRUE(adds_up());
  std::array<record*, 3> out;
  EXPECT_EQ(list.take(out, 1, 64), 2U);
  EXPECT_EQ(list.put(std::span(out).first(2)), 0U);  // out of it, it may come back
}

TEST_F(ReadyList, TakesEverythingAboveALevel) {
  for (std::size_t i = 0; i < 10; ++i) {
    put(i);
  }
  EXPECT_EQ(list.take_above(10), nullptr);
  std::set<record*> taken;
  for (record* r = list.take_above(4); r != nullptr; r = next_of(*r)) {
    taken.insert(r);
    EXPECT_EQ(r->listed, 0U);
  }
  EXPECT_EQ(taken.size(), 6U);
  EXPECT_EQ(list.count(), 4U);
  EXPECT_EQ(list.bytes(), 4096U);
  EXPECT_TRUE(adds_up());
}

TEST_F(ReadyList, KeepsTheHighestReserveUntilItIsCleared) {
  list.raise_reserve(5);
  list.raise_reserve(3);
  EXPECT_EQ(list.reserve_count(), 5U);
  list.clear_reserve();
  EXPECT_EQ(list.reserve_count(), 0U);
}

}  // namespace
}  // namespace tidepool::detail
