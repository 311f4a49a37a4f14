// SPDX-License-Identifier: Apache-2.0
//
// Whole replays of small traces, with the real pool.
#include "make_trace.hpp"
#include "tidepool/replay/run.hpp"

#include <gtest/gtest.h>

namespace tidepool::bench {
namespace {

/// Two threads that free each other's tensors, `rounds` times; a weight stays alive.
std::vector<trace::event> crossing_threads(std::uint64_t rounds) {
  std::vector<trace::event> events{
      allocation_event({.id = 1, .bytes = 1 << 20, .category = 1, .name = 1})};
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const std::uint64_t id = 2 + 2 * round;
    events.push_back(allocation_event({.id = id, .bytes = 4096 + 64 * (round % 8), .thread = 0}));
    events.push_back(allocation_event({.id = id + 1, .bytes = 256, .thread = 1}));
    events.push_back(free_event({.id = id, .thread = 1}));
    events.push_back(free_event({.id = id + 1, .thread = 0}));
  }
  return events;
}

replay_figures must_run(const temporary_trace& file, const replay_settings& settings) {
  trace::result<replay_plan> plan =
      decode(file.path(), {.threads = settings.copies == 0 ? thread_use::by_trace : thread_use::one,
                           .keep_sizes = true});
  EXPECT_TRUE(plan.has_value());
  replay_outcome outcome = run_replay(plan_of(plan), settings);
  EXPECT_TRUE(outcome.figures.has_value()) << outcome.failure.reason;
  return outcome.figures.value_or(replay_figures{});
}

TEST(ReplayRun, OneThreadHasFiguresForEveryContestant) {
  const temporary_trace file(crossing_threads(200), {"weight"}, {"w"});
  const replay_figures figures = must_run(file, {.copies = 1, .warm_passes = 2});
  EXPECT_EQ(figures.threads, 1U);
  EXPECT_EQ(figures.operations, 801U);
  EXPECT_EQ(figures.peak_live_bytes, (1U << 20) + 4096 + 64 * 7 + 256);
  ASSERT_EQ(figures.contestants.size(), 5U);
  EXPECT_EQ(figures.contestants.front().name, "tidepool");
  EXPECT_EQ(figures.contestants.back().name, "(nothing)");
  for (const contestant_figures& each : figures.contestants) {
    EXPECT_GT(each.median_ns, 0) << each.name;
    EXPECT_GE(each.p99_ns, each.median_ns) << each.name;
    EXPECT_EQ(each.failures, 0U) << each.name;
  }
  const contestant_figures& own = figures.contestants.front();
  ASSERT_TRUE(own.peak_reserved_bytes);
  EXPECT_GE(*own.peak_reserved_bytes, figures.peak_live_bytes);
  ASSERT_TRUE(own.hit_rate);
  EXPECT_GT(*own.hit_rate, 0.9);
  EXPECT_EQ(figures.misuses, 0U);
  EXPECT_EQ(figures.leaked, 0U);
}

TEST(ReplayRun, CopiesAreIndependent) {
  const temporary_trace file(crossing_threads(100), {"weight"}, {"w"});
  const replay_figures figures =
      must_run(file, {.touch = touch_mode::all, .copies = 3, .warm_passes = 1});
  EXPECT_EQ(figures.threads, 3U);
  EXPECT_EQ(figures.operations, 3 * 401U);
  EXPECT_EQ(figures.leaked, 0U);
  EXPECT_EQ(figures.misuses, 0U);
}

TEST(ReplayRun, ThreadsAsRecordedFreeEachOthersTensors) {
  const temporary_trace file(crossing_threads(500), {"weight"}, {"w"});
  const replay_figures figures = must_run(file, {.copies = 0, .warm_passes = 2});
  EXPECT_EQ(figures.threads, 2U);
  EXPECT_EQ(figures.operations, 2001U);
  EXPECT_EQ(figures.leaked, 0U);
  EXPECT_EQ(figures.misuses, 0U);
}

TEST(ReplayRun, LimitMakesFailuresAndNothingElse) {
  std::vector<trace::event> events;
  for (std::uint64_t id = 1; id <= 64; ++id) {
    events.push_back(allocation_event({.id = id, .bytes = 1 << 20}));
  }
  for (std::uint64_t id = 1; id <= 64; ++id) {
    events.push_back(free_event({.id = id}));
  }
  const temporary_trace file(events);
  const replay_figures figures =
      must_run(file, {.copies = 1, .warm_passes = 2, .limit_bytes = 16 << 20, .peers = false});
  const contestant_figures& own = figures.contestants.front();
  EXPECT_GE(own.failures, 3 * 48U);
  EXPECT_LT(own.failures, 3 * 64U);
  EXPECT_LE(own.peak_reserved_bytes.value_or(SIZE_MAX), 16U << 20);
  EXPECT_EQ(figures.leaked, 0U);
  EXPECT_EQ(figures.misuses, 0U);
}

TEST(ReplayRun, PrewarmedTraceHitsFromTheStart) {
  std::vector<trace::event> events;
  for (std::uint64_t id = 1; id <= 100; ++id) {
    events.push_back(allocation_event({.id = id, .bytes = 65536}));
    events.push_back(free_event({.id = id}));
  }
  const temporary_trace file(events);
  const replay_figures figures = must_run(
      file, {.copies = 1, .warm_passes = 1, .peers = false, .prewarm = prewarm_mode::trace});
  EXPECT_GE(figures.prewarmed_bytes, 65536U);
  EXPECT_EQ(figures.contestants.front().hit_rate_cold.value_or(0), 1.0);
}

TEST(ReplayRun, AbsentDeviceIsAReasonNotACrash) {
  const temporary_trace file({allocation_event({.id = 1, .bytes = 1})});
  trace::result<replay_plan> plan = decode(file.path());
  ASSERT_TRUE(plan.has_value());
  const replay_outcome outcome = run_replay(
      plan_of(plan), {.where = device::cuda(63), .touch = touch_mode::none, .copies = 1});
  EXPECT_FALSE(outcome.figures);
  EXPECT_NE(outcome.failure.reason.find("cuda:63"), std::string::npos);
}

TEST(ReplayRun, TouchingMoreThanTheMachineHasIsRefused) {
  const temporary_trace file({allocation_event({.id = 1, .bytes = trace::limits::tensor_bytes})});
  trace::result<replay_plan> plan = decode(file.path());
  ASSERT_TRUE(plan.has_value());
  const replay_outcome outcome = run_replay(plan_of(plan), {.touch = touch_mode::all, .copies = 1});
  EXPECT_FALSE(outcome.figures);
  EXPECT_NE(outcome.failure.reason.find("80 %"), std::string::npos);
}

}  // namespace
}  // namespace tidepool::bench
