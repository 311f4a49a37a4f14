// SPDX-License-Identifier: Apache-2.0
//
// The report: its figures add up, it names who holds memory and what to do, as text and as JSON.
#include "../support/heap_backend.hpp"
#include "support.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

namespace tidepool::test {
namespace {

using nlohmann::json;

::testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "no \"" << part << "\" in:\n" << text;
}

TEST(PoolReport, OfAnUntouchedPoolHasNoFailureAndNoSuggestion) {
  pool p(small_cpu());
  const pool_report report = p.control().report();
  EXPECT_TRUE(report.failure.ok());
  EXPECT_EQ(report.suggestion, "");
  EXPECT_EQ(report.tensors, 0U);
  ASSERT_EQ(report.devices.size(), 1U);
  EXPECT_TRUE(report.devices[0].by_category.empty());
  EXPECT_EQ(json::parse(to_json(report)).at("failure"), nullptr);
}

TEST(PoolReport, NamesHoldersTheLargestFirst) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log));
  const name_id ffn = p.intern("blk.3.ffn \"quoted\"");
  std::vector<tensor> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(p.allocate(mib, {}, {.category = category::weight, .name = ffn}));
  }
  held.push_back(p.allocate(2 * mib, {}, {.category = category::kv_cache}));
  held.push_back(
      p.allocate(512 * kib, {}, {.category = category::weight, .lifecycle = lifecycle::inactive}));
  const result<tensor> part = p.slice(held[0], 0, 100);
  const tensor adopted = p.adopt(&log, sizeof log);
  const tensor empty = p.allocate(0);
  const pool_report report = p.control().report();
  EXPECT_EQ(report.tensors, 8U);
  const device_report& d = report.devices[0];
  ASSERT_EQ(d.by_category.size(), 2U);
  EXPECT_EQ(d.by_category[0].name, "weight");
  EXPECT_EQ(d.by_category[0].tensors, 4U);
  EXPECT_EQ(d.by_category[0].bytes, 3 * mib + 512 * kib);
  EXPECT_EQ(d.by_category[1].name, "kv_cache");
  ASSERT_EQ(d.by_name.size(), 2U);
  EXPECT_EQ(d.by_name[0].name, "blk.3.ffn \"quoted\"");
  EXPECT_EQ(d.by_name[0].bytes, 3 * mib);
  EXPECT_EQ(d.by_name[1].name, "");
  EXPECT_EQ(d.by_name[1].tensors, 2U);
  EXPECT_EQ(d.inactive_bytes, 512 * kib);
  EXPECT_EQ(d.requested_bytes, 5 * mib + 512 * kib);
  EXPECT_EQ(d.live_bytes, d.requested_bytes);
  const json parsed = json::parse(to_json(report));
  EXPECT_EQ(parsed.at("format_version"), pool_report::format_version);
  EXPECT_EQ(parsed.at("devices")[0].at("by_name")[0].at("name"), "blk.3.ffn \"quoted\"");
  EXPECT_EQ(parsed.at("devices")[0].at("live_bytes"), d.live_bytes);
  EXPECT_EQ(parsed.at("tensors"), 8);
  EXPECT_TRUE(contains(to_text(report), "kv_cache"));
}

TEST(PoolReport, ItsFiguresAddUpAndNameTheThreadsThatKeepBlocks) {
  pool p(small_cpu());
  const idle_thread other([&] { (void)p.allocate(3 * mib); });
  const tensor live = p.allocate(100 * kib);
  (void)p.allocate(mib);
  const pool_report report = p.control().report();
  const device_report& d = report.devices[0];
  EXPECT_EQ(d.reserved_bytes, d.live_bytes + d.in_threads_bytes + d.ready_bytes + d.free_bytes);
  EXPECT_EQ(d.reserved_bytes, report.reserved_bytes);
  ASSERT_EQ(d.threads.size(), 2U);
  EXPECT_GE(d.threads[0].bytes, 3 * mib);
  EXPECT_GE(d.threads[1].bytes, mib);
  EXPECT_NE(d.threads[0].thread, d.threads[1].thread);
  EXPECT_EQ(d.threads[0].bytes + d.threads[1].bytes, d.in_threads_bytes);
  EXPECT_TRUE(contains(to_text(report), "thread " + std::to_string(d.threads[0].thread)));
}

TEST(PoolReport, KeepsTheLastEvents) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log), {.limit_bytes = 8 * mib});
  (void)p.allocate(mib);
  p.control().trim();
  for (int i = 0; i < 40; ++i) {
    EXPECT_FALSE(p.try_allocate(1000, device::cuda(5)).has_value());
  }
  const pool_report report = p.control().report();
  ASSERT_EQ(report.events.size(), 32U);
  for (std::size_t i = 1; i < report.events.size(); ++i) {
    EXPECT_EQ(report.events[i].number, report.events[i - 1].number + 1);
    EXPECT_GE(report.events[i].seconds, report.events[i - 1].seconds);
  }
  EXPECT_EQ(report.events.back().code, errc::unknown_device);
  EXPECT_EQ(report.events.back().where, device::cuda(5));
  EXPECT_EQ(json::parse(to_json(report)).at("events").size(), 32U);
}

class Suggestion : public ::testing::Test {
 protected:
  [[nodiscard]] static std::string after(pool& p, std::size_t bytes, device where = {}) {
    EXPECT_FALSE(p.try_allocate(bytes, where).has_value());
    return p.control().report().suggestion;
  }
  heap_log log;
};

TEST_F(Suggestion, ARequestLargerThanTheLimit) {
  pool p(std::make_unique<heap_backend>(log), {.limit_bytes = 4 * mib});
  EXPECT_TRUE(contains(after(p, 5 * mib),
                       "the request alone, 5.00 MiB, is larger than limit_bytes, 4.00 MiB"));
}

TEST_F(Suggestion, HowFarToRaiseTheLimitAndWhoHoldsTheRest) {
  pool p(std::make_unique<heap_backend>(log), {.limit_bytes = 4 * mib});
  const tensor kv = p.allocate(3 * mib, {}, {.category = category::kv_cache});
  const std::string said = after(p, 2 * mib);
  EXPECT_TRUE(
      contains(said, "raise limit_bytes, 4.00 MiB, to at least 5.00 MiB, or free 1.00 MiB"));
  EXPECT_TRUE(contains(said, "category kv_cache holds most, 3.00 MiB in 1 tensors"));
}

TEST_F(Suggestion, InactiveTensorsThatCouldGo) {
  pool p(std::make_unique<heap_backend>(log), {.total_limit_bytes = 4 * mib});
  const tensor asleep = p.allocate(3 * mib, {}, {.lifecycle = lifecycle::inactive});
  const std::string said = after(p, 2 * mib);
  EXPECT_TRUE(contains(said, "raise total_limit_bytes"));
  EXPECT_TRUE(contains(said, "3.00 MiB are in inactive tensors"));
}

TEST_F(Suggestion, ADeviceThatHasNoMore) {
  pool p(std::make_unique<heap_backend>(log));
  log.left = 0;
  EXPECT_TRUE(contains(after(p, 2 * mib), "the system refused 2.00 MiB with 0 B reserved"));
}

TEST_F(Suggestion, WhichDevicesThereAre) {
  pool p(std::make_unique<heap_backend>(log));
  EXPECT_EQ(after(p, 100, device::cuda(0)), "allocate on a device of the pool: cpu");
}

TEST_F(Suggestion, TooManyTensors) {
  pool p(std::make_unique<heap_backend>(log), {.max_tensors = 4096});
  std::vector<tensor> held;
  while (result<tensor> made = p.try_allocate(0)) {
    held.push_back(std::move(*made));
  }
  EXPECT_EQ(p.control().report().suggestion,
            "4096 tensors are alive and 4096 is the most: raise pool_options::max_tensors");
}

TEST_F(Suggestion, FragmentedMemory) {
  pool p(small_cpu(), {.limit_bytes = 40 * mib});
  std::vector<tensor> held;
  while (result<tensor> made = p.try_allocate(2 * mib)) {
    held.push_back(std::move(*made));
  }
  for (std::size_t i = 0; i < held.size(); i += 2) {
    held[i].reset();
  }
  // Free pages can go back to the system, so only fragments within the limit's rest matter here.
  const std::string said = after(p, 38 * mib);
  EXPECT_TRUE(contains(said, "limit_bytes"));
}

TEST(OutOfMemory, CarriesTheReportOfItsMoment) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log), {.limit_bytes = 4 * mib});
  tensor held = p.allocate(3 * mib, {}, {.category = category::weight});
  try {
    (void)p.allocate(2 * mib);
    FAIL() << "over the limit";
  } catch (const out_of_memory& failure) {
    held.reset();  // later events do not change it
    ASSERT_NE(failure.report(), nullptr);
    EXPECT_EQ(failure.report()->failure.requested, 2 * mib);
    EXPECT_EQ(failure.report()->devices[0].by_category[0].bytes, 3 * mib);
    EXPECT_TRUE(contains(failure.what(), "2097152 bytes requested, 3145728 reserved, limit "
                                         "4194304; raise limit_bytes"));
    const out_of_memory copy = failure;
    EXPECT_EQ(copy.report(), failure.report());
  }
}

}  // namespace
}  // namespace tidepool::test
