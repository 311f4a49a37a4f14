// SPDX-License-Identifier: Apache-2.0
//
// incidents by itself: what is counted, and who is told.
#include "pool/incidents.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace tidepool::detail {
namespace {

struct misuse_notes {
  std::vector<misuse_report> seen;
  static void note(const misuse_report& report, void* context) {
    static_cast<misuse_notes*>(context)->seen.push_back(report);
  }
};

struct call_counts final : allocation_observer {
  void on_allocate(const tensor_info& info) noexcept override { made += info.bytes; }
  void on_free(const tensor_info& info) noexcept override { ended += info.bytes; }
  void on_failure(const status& why) noexcept override { failed += why.requested; }
  std::size_t made = 0;
  std::size_t ended = 0;
  std::size_t failed = 0;
};

TEST(Incidents, MisusesAreCountedByKindAndTold) {
  misuse_notes notes;
  incidents some(misuse_notes::note, &notes);
  some.count_misuse(misuse_kind::racing_free);
  EXPECT_TRUE(notes.seen.empty()) << "it was only counted";
  const tensor_id id = tensor_id::from_value(77);
  EXPECT_EQ(some.report_misuse(misuse_kind::stale_use, id), errc::stale_id);
  memory_damage damage;
  damage.id = id;
  EXPECT_EQ(some.report_misuse(misuse_kind::after_close, {}, &damage), errc::closed);
  ASSERT_EQ(notes.seen.size(), 2U);
  EXPECT_EQ(notes.seen[0].id, id);
  EXPECT_EQ(notes.seen[0].count, 2U);
  EXPECT_EQ(notes.seen[0].damage, nullptr);
  EXPECT_EQ(notes.seen[1].damage, &damage);
  EXPECT_NE(notes.seen[1].text, notes.seen[0].text);
  EXPECT_EQ(some.misuses(), 3U);
  EXPECT_EQ(some.misuses_of(misuse_kind::racing_free), 1U);
  EXPECT_EQ(some.misuses_of(misuse_kind::stale_free), 0U);
}

TEST(Incidents, TheLatestFailureIsKeptForItsThread) {
  incidents some(nullptr, nullptr);
  incidents other(nullptr, nullptr);
  EXPECT_EQ(some.last_failure(errc::too_many).text, nullptr);
  some.failed({.code = errc::too_many, .native = 7, .text = "full"});
  EXPECT_EQ(some.last_failure(errc::too_many).text, std::string_view("full"));
  EXPECT_EQ(some.last_failure(errc::too_many).native, 7);
  EXPECT_EQ(some.last_failure(errc::out_of_memory).code, errc::out_of_memory);
  EXPECT_EQ(some.last_failure(errc::out_of_memory).text, nullptr);
  EXPECT_EQ(other.last_failure(errc::too_many).text, nullptr);
  std::thread([&] { EXPECT_EQ(some.last_failure(errc::too_many).text, nullptr); }).join();
}

TEST(Incidents, WithoutAHandlerStderrIsToldOnce) {
  incidents some(nullptr, nullptr);
  ::testing::internal::CaptureStderr();
  (void)some.report_misuse(misuse_kind::stale_free, tensor_id::from_value(0x42));
  (void)some.report_misuse(misuse_kind::stale_free, tensor_id::from_value(0x43));
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("0x0000000000000042"), std::string::npos) << text;
  EXPECT_EQ(text.find("0x0000000000000043"), std::string::npos) << text;
  EXPECT_EQ(some.misuses(), 2U);
}

TEST(Incidents, TheObserverIsToldWhileItIsSet) {
  incidents some(nullptr, nullptr);
  call_counts calls;
  const tensor_info info{.bytes = 10};
  some.made(info);
  some.set_observer(&calls);
  EXPECT_TRUE(some.is_observed());
  some.made(info);
  some.ended(info);
  some.failed({.code = errc::out_of_memory, .requested = 7});
  some.set_observer(nullptr);
  EXPECT_FALSE(some.is_observed());
  some.made(info);
  some.failed({.code = errc::over_budget, .requested = 9});
  EXPECT_EQ(calls.made, 10U);
  EXPECT_EQ(calls.ended, 10U);
  EXPECT_EQ(calls.failed, 7U);
  EXPECT_EQ(some.failures(), 2U);
  EXPECT_EQ(some.events.last_failure().code, errc::over_budget);
}

TEST(Incidents, NoCallIntoAnObserverBeginsAfterItWasReplaced) {
  struct slow_observer final : allocation_observer {
    void on_allocate(const tensor_info& /*info*/) noexcept override {
      inside = true;
      inside.notify_one();
      may_end.wait(false);
      done = true;
    }
    void on_free(const tensor_info& /*info*/) noexcept override {}
    std::atomic<bool> inside{false};
    std::atomic<bool> may_end{false};
    std::atomic<bool> done{false};
  };
  incidents some(nullptr, nullptr);
  slow_observer slow;
  some.set_observer(&slow);
  std::thread caller([&] { some.made({}); });
  slow.inside.wait(false);
  std::thread replacer([&] {
    some.set_observer(nullptr);
    EXPECT_TRUE(slow.done) << "the call into the previous one is over";
  });
  slow.may_end = true;
  slow.may_end.notify_one();
  caller.join();
  replacer.join();
}

TEST(Incidents, RecallsLeaveAnEvent) {
  incidents some(nullptr, nullptr);
  some.recalled(4096);
  EXPECT_EQ(some.recalls(), 1U);
  const std::vector<memory_event> events = some.events.copy();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].kind, memory_event_kind::recalled);
  EXPECT_EQ(events[0].bytes, 4096U);
}

TEST(Incidents, InAChildTheObserverCanBeReplaced) {
  incidents some(nullptr, nullptr);
  call_counts calls;
  some.set_observer(&calls);
  some.continue_in_child(0);
  some.set_observer(nullptr);
  EXPECT_FALSE(some.is_observed());
}

}  // namespace
}  // namespace tidepool::detail
