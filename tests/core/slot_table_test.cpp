// SPDX-License-Identifier: Apache-2.0
//
// Acquiring and releasing slots, exhaustion, and slots whose generations are used up.
#include "record/slot_table.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace tidepool::detail {
namespace {

constexpr std::uint64_t pool_tag = 5;

struct opened_table {
  slot_table table;
  explicit opened_table(std::size_t slots = 4096, std::uint32_t generation = 100) {
    EXPECT_TRUE(table.open(slots, pool_tag, generation));
  }
};

// The warm free compares an id with the header to which it leads, and with nothing else.
TEST(SlotTable, TheEmptyIdEqualsNoHeaderBeforeAnySlotIsMade) {
  slot_table table;
  ASSERT_TRUE(table.open(4096, 5, 1));
  EXPECT_NE(table.at(0).header.load(), 0U);
  EXPECT_TRUE(is_free(table.at(0).header.load()));
}

TEST(SlotTable, GivesEverySlotOnceAndThenNone) {
  opened_table made;
  slot_table& table = made.table;
  ASSERT_EQ(table.capacity(), 4096U);
  std::set<record*> seen;
  std::vector<record*> batch(100);
  std::size_t n = 0;
  while ((n = table.acquire(batch)) != 0) {
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_TRUE(seen.insert(batch[i]).second);
    }
  }
  EXPECT_EQ(seen.size(), 4096U);
  EXPECT_EQ(table.made(), 4096U);
  for (int i = 0; i < 10; ++i) {
    table.release(**seen.begin());
    ASSERT_EQ(table.acquire(batch), 1U);
    EXPECT_EQ(batch[0], *seen.begin());
    ASSERT_EQ(table.acquire(batch), 0U);
  }
}

TEST(SlotTable, RoundsCapacityUpAndKeepsBounds) {
  EXPECT_EQ(opened_table(1).table.capacity(), 4096U);
  EXPECT_EQ(opened_table(5000).table.capacity(), 8192U);
  EXPECT_EQ(opened_table(most_slots * 4).table.capacity(), most_slots);
}

TEST(SlotTable, NewSlotsAreFreeWithTheFirstGenerationAndTheirOwnName) {
  opened_table made(4096, 12345);
  std::vector<record*> batch(3);
  ASSERT_EQ(made.table.acquire(batch), 3U);
  for (record* r : batch) {
    const std::uint64_t header = r->header.load();
    EXPECT_TRUE(is_free(header));
    const std::uint64_t id = next_id(header);
    EXPECT_EQ(generation_of(id), 12345U);
    EXPECT_EQ(self_of(id), made.table.self_of(*r));
    EXPECT_EQ(id & tag_mask, pool_tag);
    EXPECT_EQ(&made.table.at(id), r);
    EXPECT_EQ(&made.table.by_index(made.table.index_of(*r)), r);
    EXPECT_NE(&made.table.cold(*r), nullptr);
  }
  EXPECT_NE(&made.table.cold(*batch[0]), &made.table.cold(*batch[1]));
}

TEST(SlotTable, AnyIdLeadsToSomeRecordOfTheTable) {
  opened_table made;
  const slot_table& table = made.table;
  const record* const first = &table.by_index(0);
  for (std::uint64_t id = 1; id != 0; id <<= 1) {
    for (const std::uint64_t value : {id, id - 1, ~id, ~std::uint64_t{0}}) {
      const record* const r = &table.at(value);
      ASSERT_GE(r, first);
      ASSERT_LT(r, first + table.capacity());
    }
  }
}

TEST(SlotTable, ARetiredSlotIsNeverGivenAgain) {
  opened_table made;
  slot_table& table = made.table;
  std::vector<record*> batch(1);
  ASSERT_EQ(table.acquire(batch), 1U);
  record* const retiring = batch[0];
  // The last tensor of the last generation ends.
  const std::uint64_t last = std::uint64_t{0x7fffffff} << 32 | table.self_of(*retiring);
  retiring->header.store(freed_header(last));
  table.release(*retiring);
  EXPECT_EQ(table.retired(), 1U);
  std::size_t given = 0;
  while (table.acquire(batch) == 1) {
    ASSERT_NE(batch[0], retiring);
    ++given;
  }
  EXPECT_EQ(given, 4095U);
}

TEST(SlotTable, AReleasedSlotHasNoBlock) {
  opened_table made;
  std::vector<record*> batch(1);
  for (const bool retired : {false, true}) {
    ASSERT_EQ(made.table.acquire(batch), 1U);
    record& r = *batch[0];
    r.data.store(&r);
    r.capacity.store(64);
    r.usable_bytes = 64;
    r.size_class.store(30);
    if (retired) {
      r.header.store(free_bit - made.table.self_of(r));
    }
    made.table.release(r);
    EXPECT_EQ(r.data.load(), nullptr) << retired;
    EXPECT_EQ(r.capacity.load(), 0U) << retired;
    EXPECT_EQ(r.usable_bytes, 0U) << retired;
    EXPECT_EQ(r.size_class.load(), 0U) << retired;
  }
}

}  // namespace
}  // namespace tidepool::detail
