// SPDX-License-Identifier: Apache-2.0
//
// The reads of a trace: decoded beside its operations, and replayed.
#include "make_trace.hpp"
#include "tidepool/replay/accesses.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tidepool::bench {
namespace {

trace::event mark(trace::event_kind kind) {
  trace::event made;
  made.kind = kind;
  return made;
}

/// Two weights and an activation; three batches: two reads, one, and one that a free ends.
std::vector<trace::event> three_batches() {
  return {allocation_event({.id = 1, .bytes = 64, .category = 1, .name = 1}),
          allocation_event({.id = 2, .bytes = 32, .category = 1, .name = 2}),
          allocation_event({.id = 3, .bytes = 16, .category = 2}),
          mark(trace::event_kind::mark_begin),
          read_event({.id = 1}),
          read_event({.id = 2}),
          read_event({.id = 3}),
          mark(trace::event_kind::mark_end),
          mark(trace::event_kind::mark_begin),
          read_event({.id = 1}),
          mark(trace::event_kind::mark_end),
          read_event({.id = 1}),
          free_event({.id = 3}),
          free_event({.id = 2}),
          free_event({.id = 1})};
}

const std::vector<std::string> categories{"weight", "activation"};
const std::vector<std::string> names{"w.1", "w.2"};

/// Which tensor begins or ends, and how many reads a batch has.
std::string steps_of(const access_plan& plan) {
  std::string text;
  for (const access_plan::step& step : plan.steps) {
    if (step.kind == access_plan::step_kind::read) {
      text += "read " + std::to_string(step.count) + ", ";
    } else {
      text += step.kind == access_plan::step_kind::begin ? "begin " : "end ";
      text += std::to_string(step.first) + ", ";
    }
  }
  return text;
}

TEST(ReplayAccesses, OneDecodingGivesOperationsAndReads) {
  const temporary_trace file(three_batches(), categories, names);
  trace::result<replay_plan> decoded = decode(file.path(), {.keep_accesses = true});
  const replay_plan& plan = plan_of(decoded);
  EXPECT_EQ(plan.allocations, 3U);
  EXPECT_EQ(plan.frees, 3U);
  const access_plan& accesses = plan.accesses;
  ASSERT_EQ(accesses.tensors.size(), 2U);
  EXPECT_EQ(plan.names.at(accesses.tensors[0].name), "w.1");
  EXPECT_EQ(plan.categories.at(accesses.tensors[1].category), "weight");
  EXPECT_EQ(steps_of(accesses), "begin 0, begin 1, read 2, read 1, end 1, read 1, end 0, ");
  EXPECT_EQ(accesses.left_out, 1U);
}

TEST(ReplayAccesses, ReadsAreKeptOnRequestOnly) {
  const temporary_trace file(three_batches(), categories, names);
  trace::result<replay_plan> decoded = decode(file.path());
  EXPECT_TRUE(plan_of(decoded).accesses.tensors.empty());
  EXPECT_TRUE(plan_of(decoded).accesses.steps.empty());
  EXPECT_EQ(plan_of(decoded).allocations, 3U);
}

TEST(ReplayAccesses, FiguresAreThoseOfOnePassHoweverManyRun) {
  std::vector<trace::event> events = three_batches();
  events.resize(events.size() - 2);  // the weights stay alive
  const temporary_trace file(events, categories, names);
  trace::result<replay_plan> decoded = decode(file.path(), {.keep_accesses = true});
  for (const unsigned passes : {0U, 1U, 3U}) {
    const trace::result<access_figures> replayed = replay_accesses(plan_of(decoded), passes);
    ASSERT_TRUE(replayed.has_value());
    const access_figures& figures = replayed.value();
    EXPECT_EQ(figures.reads, 4U);
    EXPECT_EQ(figures.batches, 3U);
    EXPECT_EQ(figures.left_out, 1U);
    ASSERT_EQ(figures.hottest.size(), 2U);
    EXPECT_EQ(figures.hottest[0].name, "w.1");
    EXPECT_EQ(figures.hottest[0].count, 3U);
    EXPECT_EQ(figures.coldest[0].name, "w.2");
    EXPECT_EQ(figures.coldest[0].count, 1U);
  }
}

}  // namespace
}  // namespace tidepool::bench
