// SPDX-License-Identifier: Apache-2.0
//
// operation_count by itself: who is told to finish a close and to destroy, who waits for whom.
#include "pool/operation_entry.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace tidepool::test {
namespace {

using detail::callback;
using detail::in_observer;
using detail::may_wait;
using detail::operation_count;
using outcome = operation_count::outcome;
using obstacle = operation_count::entry::obstacle;

TEST(OperationCount, WhatLeavesLastIsToldSo) {
  operation_count count;
  {
    operation_count::entry one(count);
    ASSERT_EQ(one.begin(may_wait::yes), obstacle::none);
    EXPECT_EQ(count.leave_handle(), outcome::left) << "an operation is under way";
    EXPECT_EQ(count.leave(), outcome::last);
  }
}

TEST(OperationCount, TheLastOperationFinishesTheClose) {
  operation_count count;
  operation_count::entry outer(count);
  ASSERT_EQ(outer.begin(may_wait::no), obstacle::none);
  EXPECT_FALSE(count.is_closed());
  EXPECT_TRUE(count.want_close(close_mode::orderly));
  EXPECT_FALSE(count.want_close(close_mode::orderly)) << "it was wanted before";
  EXPECT_TRUE(count.is_closed());
  EXPECT_FALSE(count.reached().has_value());
  {
    operation_count::entry inner(count);
    EXPECT_TRUE(inner.nests());
    EXPECT_EQ(inner.begin(may_wait::yes), obstacle::none) << "an inner one never waits";
    EXPECT_EQ(count.leave(), outcome::left);
  }
  ASSERT_EQ(count.leave(), outcome::must_close);
  count.reach_close(close_mode::orderly, 2);
  EXPECT_EQ(count.reached(), close_mode::orderly);
  EXPECT_EQ(count.leave(), outcome::left) << "two tensors and the handle are left";
  EXPECT_EQ(count.leave_handle(), outcome::left);
  operation_count::entry free(count);
  ASSERT_EQ(free.begin(may_wait::yes), obstacle::none);
  count.forget_tensor();
  count.forget_tensor();
  EXPECT_EQ(count.leave(), outcome::last);
}

TEST(OperationCount, ForceIsWantedWhileAnOrderlyCloseIsFinished) {
  operation_count count;
  operation_count::entry one(count);
  ASSERT_EQ(one.begin(may_wait::no), obstacle::none);
  (void)count.want_close(close_mode::orderly);
  ASSERT_EQ(count.leave(), outcome::must_close);
  (void)count.want_close(close_mode::force);
  count.reach_close(close_mode::orderly, 0);
  ASSERT_EQ(count.leave(), outcome::must_close) << "force is still to be done";
  EXPECT_EQ(count.wanted(), close_mode::force);
  count.reach_close(close_mode::force, 0);
  EXPECT_EQ(count.leave(), outcome::left);
  EXPECT_EQ(count.leave_handle(), outcome::last);
}

TEST(OperationCount, WhatBeginsBetweenWishAndCloseWaits) {
  operation_count count;
  operation_count::entry one(count);
  ASSERT_EQ(one.begin(may_wait::no), obstacle::none);
  (void)count.want_close(close_mode::orderly);
  std::atomic<bool> waits{false};
  std::thread other([&] {
    operation_count::entry late(count);
    obstacle seen = late.begin(may_wait::yes);
    EXPECT_EQ(seen, obstacle::closing);
    EXPECT_EQ(count.leave(), outcome::left);
    waits = true;
    waits.notify_one();
    late.wait_for(seen);
    EXPECT_EQ(late.begin(may_wait::yes), obstacle::none);
    EXPECT_EQ(count.leave(), outcome::left);
  });
  waits.wait(false);
  ASSERT_EQ(count.leave(), outcome::must_close);
  count.reach_close(close_mode::orderly, 0);
  other.join();
  EXPECT_EQ(count.leave(), outcome::left);
  count.wait_until_reached(close_mode::orderly);
}

TEST(OperationCount, CallbacksAreNotWaitedForByFork) {
  operation_count count;
  operation_count other_pool;
  operation_count::entry outer(count);
  operation_count::entry inner(other_pool);
  ASSERT_EQ(outer.begin(may_wait::yes), obstacle::none);
  ASSERT_EQ(inner.begin(may_wait::yes), obstacle::none);
  std::thread([&] { EXPECT_EQ(count.of_this_thread().counted, 0U) << "another thread's"; }).join();
  EXPECT_EQ(count.of_this_thread().observing, 0U);
  const std::uint64_t active = other_pool.of_this_thread().counted;
  {
    const callback outside(in_observer::yes);
    EXPECT_EQ(other_pool.of_this_thread().observing, 1U);
    EXPECT_LT(other_pool.of_this_thread().counted, active) << "it is not active meanwhile";
    // Idle but for this thread: other threads, which fork, see neither of them active.
    std::thread([&] {
      count.wait_until_idle();
      other_pool.wait_until_idle();
    }).join();
  }
  EXPECT_EQ(other_pool.of_this_thread().counted, active);
  EXPECT_EQ(other_pool.of_this_thread().observing, 0U);
  EXPECT_EQ(other_pool.leave(), outcome::left);
  EXPECT_EQ(count.leave(), outcome::left);
}

TEST(OperationCount, AChildForgetsWhatVanishedThreadsHadUnderWay) {
  operation_count count;
  std::atomic<int> step{0};
  std::thread vanished([&] {
    operation_count::entry theirs(count);
    EXPECT_EQ(theirs.begin(may_wait::yes), obstacle::none);
    step = 1;
    step.notify_one();
    step.wait(1);
  });
  step.wait(0);
  operation_count::entry own(count);
  ASSERT_EQ(own.begin(may_wait::no), obstacle::none);
  count.continue_in_child();
  count.wait_until_idle();  // but for this thread's own
  EXPECT_EQ(count.leave(), outcome::left);
  EXPECT_EQ(count.leave_handle(), outcome::last);
  step = 2;
  step.notify_one();
  vanished.join();
}

}  // namespace
}  // namespace tidepool::test
