// SPDX-License-Identifier: Apache-2.0
//
// A rival that does less than tidepool would be no rival: all of them count the same.
#include "compare/rivals.hpp"

#include "compare/contest.hpp"
#include "compare/report.hpp"
#include "streams/streams.hpp"
#include <tidepool/access_tracker.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <gtest/gtest.h>

#include <vector>

namespace tidepool::bench::compare {
namespace {

void expect_equal(const counts& rival, const access_report& ours) {
  EXPECT_EQ(rival.recorded, ours.recorded);
  EXPECT_EQ(rival.padding, ours.padding);
  EXPECT_EQ(rival.out_of_range, ours.out_of_range);
  EXPECT_EQ(rival.stale, ours.stale);
  EXPECT_EQ(rival.duplicates, ours.duplicates);
}

TEST(Rivals, ReportWhatThePoolReports) {
  std::vector<std::int32_t> ids = streams::zipf_indices(5000, 300, 1.0, 1);
  for (std::size_t i = 0; i < ids.size(); i += 9) {
    ids[i] = i % 2 == 0 ? -1 : 300 + static_cast<std::int32_t>(i);
  }
  pool p{cpu::make_backend()};
  const domain d = *p.accesses().make_domain({.size = 300, .standalone = true});
  reference_table scalar(300);
  atomic_table atomics(300);
  const access_report all = *p.accesses().record({.where = d, .indices = ids});
  expect_equal(scalar.record(ids, mode::occurrence, 1), all);
  expect_equal(atomics.record(ids, 1), all);
  expect_equal(scalar.record(ids, mode::once, 2),
               *p.accesses().record({.where = d, .indices = ids, .mode = access_mode::once}));
}

TEST(Rivals, FindTheSameKeys) {
  probe_table probe(100);
  locked_map map(100);
  for (std::uint32_t i = 0; i < 100; ++i) {
    probe.insert(i + 1, i);
    map.insert(i + 1);
  }
  const std::vector<std::uint64_t> keys{1, 100, 101, 1};
  EXPECT_EQ(probe.record(keys, 1).recorded, 3U);
  EXPECT_EQ(map.record(keys, 1).recorded, 3U);
  EXPECT_EQ(map.record(keys, 1).stale, 1U);
}

TEST(Rivals, AContestGivesARowForEachRival) {
  int ours = 0;
  int theirs = 0;
  const std::vector<row> rows =
      hold({.name = "X",
            .pattern = "counting",
            .units = 10,
            .ours = {"tidepool", [&] { ++ours; }},
            .rivals = {{"other", [&] { ++theirs; }, 1000}, {"third", [] {}}}},
           {.repetitions = 3, .run_ms = 0.01});
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_GT(ours, 3);
  EXPECT_GT(theirs, 3);
  EXPECT_EQ(rows[0].best_peer, "other");
  EXPECT_TRUE(rows[0].is_met());
  EXPECT_NE(to_table(rows).find("counting"), std::string::npos);
  EXPECT_EQ(to_json(rows).find("[\n  {\n    \"case\": \"X\""), 0U) << to_json(rows);
}

}  // namespace
}  // namespace tidepool::bench::compare
