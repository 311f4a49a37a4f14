// SPDX-License-Identifier: Apache-2.0
//
// block_stock by itself: blocks on their way between a backend, ready lists and slots.
#include "part_support.hpp"
#include "pool/operation_entry.hpp"

namespace tidepool::detail {
namespace {

class BlockStock : public PartTest {
 protected:
  [[nodiscard]] lane& where() { return all.at(0); }
  [[nodiscard]] block_demand demand(std::size_t bytes) { return demand_for(where(), {bytes, 64}); }
  /// So many free slots with blocks.
  [[nodiscard]] std::vector<record*> made(std::size_t count, std::size_t bytes = 4096) {
    std::vector<record*> slots(count);
    EXPECT_EQ(stock.refill(demand(bytes), slots, true).count, count);
    return slots;
  }
  void give_all_back() {
    (void)stock.drain_ready(true);
    EXPECT_EQ(log.handed_out, 0U);
    EXPECT_EQ(log.wrong_returns, 0U);
    EXPECT_EQ(where().device->ready_bytes, 0U);
  }
};

TEST_F(BlockStock, ARefillBindsBlocksToSlots) {
  const std::vector<record*> slots = made(3, 100);
  for (const record* const slot : slots) {
    EXPECT_TRUE(is_free(slot->header.load()));
    EXPECT_EQ(slot->capacity.load(), 128U);
    EXPECT_EQ(slot->usable_bytes, 128U);
    EXPECT_EQ(slot->lane.load(), 0U);
    EXPECT_EQ(slot->size_class.load(), size_class_of(128));
  }
  stock.give_back(where(), size_class_of(128), slots);
  give_all_back();
}

TEST_F(BlockStock, WhatABackendRefusesIsTold) {
  log.left = 2;
  std::array<record*, 5> slots{};
  EXPECT_EQ(stock.refill(demand(4096), slots, true).count, 2U);
  std::array<record*, 5> others{};
  const auto none = stock.refill(demand(4096), others, true);
  EXPECT_EQ(none.count, 0U);
  EXPECT_EQ(none.why.code, errc::out_of_memory);
  EXPECT_EQ(none.why.requested, 4096U);
  stock.give_back(where(), *slots[0]);
  stock.give_back(where(), *slots[1]);
  give_all_back();
}

TEST_F(BlockStock, ReadyListsKeepWhatIsBoundedAndServeIt) {
  const std::vector<record*> slots = made(6, 512 * 1024);
  stock.give_back(where(), slots[0]->size_class.load(), slots);
  EXPECT_EQ(log.handed_out, 4U) << "a list keeps 2 MiB of them, the rest went to the backend";
  EXPECT_EQ(where().device->ready_bytes, 4U * 512 * 1024);
  std::array<record*, 3> taken{};
  EXPECT_EQ(stock.take_ready(demand(512 * 1024), taken), 3U);
  EXPECT_EQ(where().device->ready_bytes, 512U * 1024);
  EXPECT_EQ(stock.take_ready(demand(64), taken), 0U) << "another class";
  for (record* const slot : taken) {
    stock.keep_centrally(where(), *slot);
  }
  give_all_back();
}

TEST_F(BlockStock, AClosedPoolKeepsNothing) {
  operation_count::entry closing(operations);
  ASSERT_EQ(closing.begin(may_wait::no), operation_count::entry::obstacle::none);
  const std::vector<record*> slots = made(1);
  (void)operations.want_close(close_mode::orderly);
  stock.keep_centrally(where(), *slots[0]);
  EXPECT_EQ(log.handed_out, 0U);
  ASSERT_EQ(operations.leave(), operation_count::outcome::must_close);
  operations.reach_close(close_mode::orderly, 0);
  EXPECT_EQ(operations.leave(), operation_count::outcome::left);
}

TEST_F(BlockStock, APoppedSlotThatIsAliveIsAMisuse) {
  const std::vector<record*> slots = made(2);
  const std::uint64_t free_header = slots[0]->header.load();
  slots[0]->header = next_id(free_header);  // somebody has it through a second free
  EXPECT_EQ(stock.accept_popped(*slots[0]), nullptr);
  EXPECT_EQ(some.misuses_of(misuse_kind::racing_free), 1U);
  EXPECT_EQ(stock.accept_popped(*slots[1]), slots[1]);
  stock.give_back(where(), slots[0]->size_class.load(), slots);
  (void)stock.drain_ready(true);
  EXPECT_EQ(log.handed_out, 1U) << "what is alive is not given away";
  EXPECT_EQ(some.misuses_of(misuse_kind::racing_free), 2U);
  slots[0]->header = free_header;
  stock.give_back(where(), *slots[0]);
  give_all_back();
}

TEST_F(BlockStock, ARetiredSlotsBlockMovesToAnother) {
  const std::vector<record*> slots = made(1);
  void* const data = slots[0]->data.load();
  slots[0]->header = free_bit - known.slots.self_of(*slots[0]);
  record* const fresh = stock.accept_popped(*slots[0]);
  ASSERT_NE(fresh, nullptr);
  EXPECT_NE(fresh, slots[0]);
  EXPECT_EQ(fresh->data.load(), data);
  EXPECT_TRUE(is_free(fresh->header.load()));
  EXPECT_EQ(known.slots.retired(), 1U);
  stock.give_back(where(), *fresh);
  give_all_back();
}

TEST_F(BlockStock, CountsAreOfLaneAndClassAndCanBeTakenBack) {
  const unsigned c = size_class_of(4096);
  stock.count_made(where(), c, {100, block_source::backend});
  stock.count_made(where(), c, {50, block_source::ready});
  EXPECT_EQ(where().device->live_bytes, 150U);
  stock.uncount_made(where(), c, {50, block_source::ready});
  stock.count_ended(where(), c, 100);
  const class_counts& sum = where().counts_of(c);
  EXPECT_EQ(sum.pops, 1U);
  EXPECT_EQ(sum.pushes, 1U);
  EXPECT_EQ(sum.ready_hits, 0U);
  EXPECT_EQ(sum.refills, 1U);
  EXPECT_EQ(sum.requested, 0U);
  EXPECT_EQ(where().device->live_bytes, 0U);
}

TEST_F(BlockStock, AnArenaKeepsItsBlocks) {
  lane* const arena = all.open_arena(*all.find(device::cuda(0)));
  ASSERT_NE(arena, nullptr);
  std::vector<record*> slots(6);
  ASSERT_EQ(stock.refill(demand_for(*arena, {512 * 1024, 64}), slots, true).count, 6U);
  stock.give_back(*arena, slots[0]->size_class.load(), slots);
  (void)stock.drain_ready(true);
  EXPECT_EQ(log.handed_out, 6U) << "replays of the graph use these addresses";
  EXPECT_EQ(arena->device->arena_bytes, 6U * 512 * 1024);
  EXPECT_EQ(stock.drain_ready(*arena, true), 6U * 512 * 1024);
  give_all_back();
}

}  // namespace
}  // namespace tidepool::detail
