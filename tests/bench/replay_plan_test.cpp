// SPDX-License-Identifier: Apache-2.0
//
// Decoding traces into operations.
#include "make_trace.hpp"
#include "tidepool/replay/plan.hpp"

#include <gtest/gtest.h>

namespace tidepool::bench {
namespace {

TEST(ReplayOp, FieldsComeBack) {
  constexpr replay_op op = replay_op::allocate(
      (1U << 31) - 1,
      {.bytes = 12345, .alignment_log2 = 12, .category = 200, .name = 77, .stream = 2047});
  EXPECT_FALSE(op.is_free());
  EXPECT_EQ(op.slot(), (1U << 31) - 1);
  EXPECT_EQ(op.bytes(), 12345U);
  EXPECT_EQ(op.alignment(), 4096U);
  EXPECT_EQ(op.category(), 200U);
  EXPECT_EQ(op.name(), 77U);
  EXPECT_EQ(op.stream(), 2047U);
  replay_op renamed = op;
  renamed.rename(3, 9);
  renamed.move_to(5);
  EXPECT_EQ(renamed.bytes(), 12345U);
  EXPECT_EQ(renamed.alignment(), 4096U);
  EXPECT_EQ(renamed.category(), 3U);
  EXPECT_EQ(renamed.name(), 9U);
  EXPECT_EQ(renamed.stream(), 2047U);
  EXPECT_EQ(renamed.slot(), 5U);
  EXPECT_FALSE(renamed.is_free());
  EXPECT_TRUE(replay_op::free(4).is_free());
  EXPECT_FALSE(replay_op::free(4).changes_stream());
  replay_op moved = replay_op::free_on(4, 2000);
  moved.rename(0, 0);
  moved.move_to(9);
  EXPECT_TRUE(moved.is_free());
  EXPECT_TRUE(moved.changes_stream());
  EXPECT_EQ(moved.stream(), 2000U);
  EXPECT_EQ(moved.slot(), 9U);
  EXPECT_TRUE(replay_op::free_on(4, 0).changes_stream());
}

TEST(ReplayPlan, StreamsAreNumberedAsTheyComeAndFreesNameThoseThatDiffer) {
  const temporary_trace file({allocation_event({.id = 1, .bytes = 1, .stream = 700}),
                              allocation_event({.id = 2, .bytes = 1}),
                              allocation_event({.id = 3, .bytes = 1, .stream = 5}),
                              free_event({.id = 1, .stream = 700}),
                              free_event({.id = 2, .stream = 5}), free_event({.id = 3})});
  trace::result<replay_plan> decoded = decode(file.path());
  ASSERT_TRUE(decoded.has_value());
  const replay_plan& plan = plan_of(decoded);
  EXPECT_EQ(plan.streams, 2U);
  const std::vector<replay_op>& ops = plan.threads.front();
  ASSERT_EQ(ops.size(), 6U);
  EXPECT_EQ(ops[0].stream(), 1U);
  EXPECT_EQ(ops[1].stream(), 0U);
  EXPECT_EQ(ops[2].stream(), 2U);
  EXPECT_FALSE(ops[3].changes_stream());
  EXPECT_TRUE(ops[4].changes_stream());
  EXPECT_EQ(ops[4].stream(), 2U);
  EXPECT_TRUE(ops[5].changes_stream());
  EXPECT_EQ(ops[5].stream(), 0U);
}

TEST(ReplayPlan, TheSameNumberOnTwoDevicesIsTwoStreams) {
  // The free says no device: its stream is one of the tensor's.
  const temporary_trace file({allocation_event({.id = 1, .bytes = 1, .stream = 1, .device = 0}),
                              allocation_event({.id = 2, .bytes = 1, .stream = 1, .device = 1}),
                              free_event({.id = 2, .stream = 1})});
  trace::result<replay_plan> decoded = decode(file.path());
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(plan_of(decoded).streams, 2U);
  const std::vector<replay_op>& ops = plan_of(decoded).threads.front();
  ASSERT_EQ(ops.size(), 3U);
  EXPECT_NE(ops[0].stream(), ops[1].stream());
  EXPECT_FALSE(ops[2].changes_stream());
}

TEST(ReplayPlan, MoreStreamsThanAnOperationCanNameAreAnError) {
  for (const unsigned count : {2047U, 2048U}) {
    std::vector<trace::event> events;
    for (unsigned n = 1; n <= count; ++n) {
      events.push_back(
          allocation_event({.id = n, .bytes = 1, .stream = static_cast<std::uint16_t>(n)}));
    }
    const temporary_trace file(events);
    EXPECT_EQ(decode(file.path()).has_value(), count == 2047) << count;
  }
}

TEST(ReplayPlan, CountsAndPeakAreExact) {
  const temporary_trace file(
      {allocation_event({.id = 1, .bytes = 100}), allocation_event({.id = 2, .bytes = 50}),
       free_event({.id = 1}), allocation_event({.id = 3, .bytes = 60}),
       allocation_event({.id = 4, .bytes = 41}), free_event({.id = 3}), free_event({.id = 2})});
  trace::result<replay_plan> decoded = decode(file.path(), {.keep_sizes = true});
  ASSERT_TRUE(decoded.has_value());
  const replay_plan& plan = plan_of(decoded);
  EXPECT_EQ(plan.operations, 7U);
  EXPECT_EQ(plan.allocations, 4U);
  EXPECT_EQ(plan.frees, 3U);
  EXPECT_EQ(plan.distinct_sizes, 4U);
  EXPECT_EQ(plan.peak_live_bytes, 151U);
  EXPECT_EQ(plan.peak_operation, 4U);
  EXPECT_EQ(plan.peak_tensors, 3U);
  EXPECT_EQ(plan.slot_count, 3U);
  EXPECT_EQ(plan.sizes, (std::vector<std::ptrdiff_t>{100, 50, -100, 60, 41, -60, -50}));
  ASSERT_EQ(plan.threads.size(), 1U);
  const std::vector<replay_op>& ops = plan.threads.front();
  ASSERT_EQ(ops.size(), 7U);
  EXPECT_EQ(ops[0].slot(), ops[2].slot());
  EXPECT_EQ(ops[3].slot(), ops[0].slot()) << "the slot freed last is used first";
  EXPECT_EQ(ops[5].slot(), ops[3].slot());
  EXPECT_EQ(ops[6].slot(), ops[1].slot());
}

TEST(ReplayPlan, NamesAndCategoriesAreKept) {
  const temporary_trace file(
      {allocation_event({.id = 1, .bytes = 8, .category = 2, .name = 1}), free_event({.id = 1})},
      {"activation", "weight"}, {"blk.0"});
  trace::result<replay_plan> decoded = decode(file.path());
  ASSERT_TRUE(decoded.has_value());
  const replay_plan& plan = plan_of(decoded);
  const replay_op& op = plan.threads.front().front();
  EXPECT_EQ(plan.names.at(op.name()), "blk.0");
  EXPECT_EQ(plan.categories.at(op.category()), "weight");
}

TEST(ReplayPlan, FailedAndExternalAllocationsAreLeftOut) {
  trace::event failed = allocation_event({.id = 1, .bytes = 100});
  failed.detail = static_cast<std::uint8_t>(trace::outcome::out_of_memory);
  trace::event external = allocation_event({.id = 2, .bytes = 200});
  external.flags = trace::event_flags::external;
  const temporary_trace file(
      {failed, external, allocation_event({.id = 3, .bytes = 7}), free_event({.id = 2})});
  trace::result<replay_plan> decoded = decode(file.path());
  ASSERT_TRUE(decoded.has_value());
  const replay_plan& plan = plan_of(decoded);
  EXPECT_EQ(plan.operations, 1U);
  EXPECT_EQ(plan.left_out, 2U);
  EXPECT_EQ(plan.peak_live_bytes, 7U);
}

TEST(ReplayPlan, ThreadsOfTheTraceHaveListsOfTheirOwnAndNoSlotInCommon) {
  const temporary_trace file(
      {allocation_event({.id = 1, .bytes = 1, .thread = 0}), free_event({.id = 1, .thread = 9}),
       allocation_event({.id = 2, .bytes = 1, .thread = 9}), free_event({.id = 2, .thread = 0})});
  trace::result<replay_plan> decoded = decode(file.path(), {.threads = thread_use::by_trace});
  ASSERT_TRUE(decoded.has_value());
  const replay_plan& plan = plan_of(decoded);
  ASSERT_EQ(plan.threads.size(), 2U);
  EXPECT_EQ(plan.trace_threads, 2U);
  EXPECT_EQ(plan.threads[0].size(), 2U);
  EXPECT_EQ(plan.threads[1].size(), 2U);
  EXPECT_EQ(plan.slot_count, 2U);
  trace::result<replay_plan> in_one = decode(file.path());
  ASSERT_TRUE(in_one.has_value());
  const replay_plan& merged = plan_of(in_one);
  ASSERT_EQ(merged.threads.size(), 1U);
  EXPECT_EQ(merged.threads[0].size(), 4U);
  EXPECT_EQ(merged.slot_count, 1U);
}

TEST(ReplayPlan, NonsenseIsAnErrorWithItsEvent) {
  const temporary_trace twice(
      {allocation_event({.id = 1, .bytes = 1}), allocation_event({.id = 1, .bytes = 1})});
  const trace::result<replay_plan> first = decode(twice.path());
  ASSERT_FALSE(first.has_value());
  EXPECT_EQ(error_of(first).code, trace::errc::invalid);
  EXPECT_EQ(error_of(first).event, 3U) << "the definitions of two devices come first";
  const temporary_trace stale({free_event({.id = 1})});
  EXPECT_FALSE(decode(stale.path()).has_value());
  EXPECT_FALSE(decode("/nonexistent/trace.tpt").has_value());
}

TEST(ReplayPlan, LiveBytesThatNoMachineHasAreAnError) {
  std::vector<trace::event> events;
  for (std::uint64_t id = 1; id <= (1U << 14) + 1; ++id) {
    events.push_back(allocation_event({.id = id, .bytes = trace::limits::tensor_bytes}));
  }
  const temporary_trace file(events);
  const trace::result<replay_plan> decoded = decode(file.path());
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(error_of(decoded).code, trace::errc::invalid);
}

TEST(ReplayPlan, EmptyTraceIsAnEmptyPlan) {
  const temporary_trace file(std::vector<trace::event>{});
  trace::result<replay_plan> decoded = decode(file.path());
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(plan_of(decoded).operations, 0U);
  EXPECT_EQ(plan_of(decoded).threads.size(), 1U);
}

}  // namespace
}  // namespace tidepool::bench
