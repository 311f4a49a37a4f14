// SPDX-License-Identifier: Apache-2.0
//
// Call sites, the leak report, messages, the environment variable, and that without debug modes
// nothing changes.
#include "debug_support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/environment.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>

namespace tidepool::test {
namespace {

// Places whose names a report must show.
[[gnu::noinline]] tensor make_here(pool& p, std::size_t bytes, const allocation_options& options) {
  tensor made = p.allocate(bytes, {}, options);
  asm volatile("" : : : "memory");  // no tail call: the frame must be there
  return made;
}
[[gnu::noinline]] tensor make_there(pool& p, std::size_t bytes) {
  tensor made = p.allocate(bytes);
  asm volatile("" : : : "memory");
  return made;
}
[[gnu::noinline]] void free_here(tensor& t) {
  t.reset();
  asm volatile("" : : : "memory");
}

/// Sets TIDEPOOL for the time of a scope.
class environment {
 public:
  explicit environment(const char* text) { ::setenv("TIDEPOOL", text, 1); }
  environment(const environment&) = delete;
  environment& operator=(const environment&) = delete;
  ~environment() { ::unsetenv("TIDEPOOL"); }
};

TEST(DebugCallSite, ADamageSaysWhereItsTensorWasMadeAndFreed) {
  damage_log log;
  pool p(
      small_cpu(),
      log.options({.guard = guard_mode::canary, .quarantine_bytes = mib, .call_site_frames = 8}));
  tensor t = make_here(p, 100, {});
  void* const data = t.data();
  poke(data, 100);
  free_here(t);
  poke(data, 0);
  (void)p.control().check_memory();
  const auto seen = log.take();
  ASSERT_EQ(seen.size(), 2U);
  for (const seen_misuse& one : seen) {
    ASSERT_FALSE(one.allocated_at.empty());
    ASSERT_FALSE(one.freed_at.empty());
    EXPECT_LE(one.allocated_at.size(), 8U);
    // Innermost first, and the pool's own frames are left out.
    const std::string made = to_text(one.allocated_at);
    EXPECT_LT(made.find("make_here"), made.find('\n')) << made;
    const std::string ended = to_text(one.freed_at);
    EXPECT_LT(ended.find("free_here"), ended.find('\n')) << ended;
    EXPECT_NE(one.text.find("made at"), std::string::npos);
    EXPECT_NE(one.text.find("freed at"), std::string::npos);
  }
}

TEST(DebugCallSite, ADoubleFreeSaysWhereTheFirstOneWas) {
  damage_log log;
  pool p(small_cpu(), log.options({.call_site_frames = 8}));
  tensor t = make_here(p, 100, {.name = p.intern("twice")});
  const tensor_id id = t.id();
  free_here(t);
  EXPECT_EQ(p.deallocate(id), errc::stale_id);
  auto seen = log.take();
  ASSERT_EQ(seen.size(), 1U);
  ASSERT_TRUE(seen[0].has_damage);
  EXPECT_EQ(seen[0].name, "twice");
  EXPECT_NE(seen[0].text.find("free_here"), std::string::npos) << seen[0].text;
  // Once the slot is used again, nothing is known of the first tensor, and nothing wrong is said.
  const tensor next = p.allocate(100);
  EXPECT_EQ(p.deallocate(id), errc::stale_id);
  seen = log.take();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_FALSE(seen[0].has_damage);
}

TEST(DebugCallSite, NoMoreFramesThanAskedFor) {
  for (const unsigned frames : {1U, 2U, 16U}) {
    pool p(small_cpu(), {.debug = {.call_site_frames = frames}});
    const tensor t = make_here(p, 100, {});
    const leak_report report = p.control().leaks();
    ASSERT_EQ(report.entries.size(), 1U);
    EXPECT_LE(report.entries[0].made_at.size(), frames);
    EXPECT_GE(report.entries[0].made_at.size(), 1U);
  }
  EXPECT_FALSE(pool::try_create({}, {.debug = {.call_site_frames = 17}}));
}

TEST(DebugLeaks, AreGroupedByCategoryNameAndSiteMostBytesFirst) {
  pool p(small_cpu(), {.debug = {.guard = guard_mode::canary, .call_site_frames = 4}});
  const name_id name = p.intern("blk.0");
  std::vector<tensor> live;
  const volatile int times = 3;  // one place in the code, not three of an unrolled loop
  for (int i = 0; i < times; ++i) {
    live.push_back(make_here(p, 1000, {.name = name}));
  }
  live.push_back(make_here(p, 100, {.category = category::weight, .name = name}));
  live.push_back(make_there(p, 5000));
  live.push_back(std::move(*p.slice(live.back(), 0, 100)));
  int byte = 0;
  live.push_back(p.adopt(&byte, 1));
  live.push_back(p.allocate(0));
  p.allocate(700).reset();  // is no leak
  const leak_report report = p.control().leaks();
  EXPECT_EQ(report.tensors, live.size());
  EXPECT_EQ(report.bytes, 3000U + 100 + 5000 + 1);
  ASSERT_GE(report.entries.size(), 5U);
  EXPECT_TRUE(std::is_sorted(report.entries.begin(), report.entries.end(),
                             [](const auto& a, const auto& b) { return a.bytes > b.bytes; }));
  EXPECT_EQ(report.entries[0].bytes, 5000U);
  EXPECT_NE(to_text(report.entries[0].made_at).find("make_there"), std::string::npos);
  const leak_entry& named = report.entries[1];
  EXPECT_EQ(named.bytes, 3000U);
  EXPECT_EQ(named.name, "blk.0");
  EXPECT_EQ(named.category_name, "temporary");
  std::size_t sum = 0;
  for (const leak_entry& entry : report.entries) {
    sum += entry.tensors;
  }
  EXPECT_EQ(sum, report.tensors);
  const std::string text = to_text(report);
  EXPECT_NE(text.find("make_here"), std::string::npos) << text;
  EXPECT_NE(text.find("'blk.0'"), std::string::npos) << text;
  EXPECT_NE(text.find("weight"), std::string::npos) << text;
}

TEST(DebugLeaks, AreKnownWithoutAnyMode) {
  pool p(small_cpu());
  EXPECT_EQ(p.control().leaks().tensors, 0U);
  const tensor a = p.allocate(100, {}, {.name = p.intern("a")});
  const tensor b = p.allocate(200, {}, {.name = p.intern("b")});
  const leak_report report = p.control().leaks();
  ASSERT_EQ(report.entries.size(), 2U);
  EXPECT_EQ(report.entries[0].name, "b");
  EXPECT_EQ(report.entries[1].bytes, 100U);
  EXPECT_TRUE(report.entries[0].made_at.empty());
}

TEST(DebugLeaks, AreReportedOnceWhenThePoolCloses) {
  struct heard {
    int calls = 0;
    leak_report report;
  } told;
  debug_options modes{.call_site_frames = 4, .report_leaks = true};
  modes.on_leaks = [](const leak_report& report, void* context) {
    auto& to = *static_cast<heard*>(context);
    ++to.calls;
    to.report = report;
  };
  modes.leaks_context = &told;
  tensor left;
  {
    pool p(small_cpu(), {.debug = modes});
    left = make_here(p, 100, {});
    const tensor freed = p.allocate(50);
  }
  EXPECT_EQ(told.calls, 1);
  ASSERT_EQ(told.report.tensors, 1U);
  EXPECT_EQ(told.report.bytes, 100U);
  std::memset(left.data(), 1, 100);  // still usable
  left.reset();
  {
    pool p(small_cpu(), {.debug = modes});
    p.allocate(100).reset();
  }
  EXPECT_EQ(told.calls, 1) << "a pool without leaks is silent";
}

TEST(DebugLeaks, GoToStderrWithoutAHandler) {
  ::testing::internal::CaptureStderr();
  tensor left;
  {
    pool p(small_cpu(), {.debug = {.report_leaks = true}});
    left = p.allocate(100, {}, {.name = p.intern("forgotten")});
  }
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("1 tensor is alive"), std::string::npos) << text;
  EXPECT_NE(text.find("forgotten"), std::string::npos) << text;
}

TEST(DebugMessage, EachDamageGoesToStderrWithoutAHandler) {
  ::testing::internal::CaptureStderr();
  {
    pool p(small_cpu(), {.debug = {.guard = guard_mode::canary}});
    for (int i = 0; i < 100; ++i) {
      tensor t = p.allocate(100, {}, {.name = p.intern("overrun")});
      poke(t.data(), 105);
    }
    EXPECT_EQ(p.control().statistics().misuses, 100U);
  }
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("bytes behind a tensor were written"), std::string::npos) << text;
  EXPECT_NE(text.find("'overrun'"), std::string::npos) << text;
  EXPECT_NE(text.find("5 behind the last byte; 0x11"), std::string::npos) << text;
  const auto lines = std::count(text.begin(), text.end(), '\n');
  EXPECT_GT(lines, 20);
  EXPECT_LT(lines, 200) << "a hundred damages are told in part only";
}

TEST(DebugEnvironment, TurnsEveryModeOn) {
  damage_log log;
  {
    const environment set("poison,guard=canary,quarantine=64KiB,sites=3,leaks");
    ::testing::internal::CaptureStderr();
    pool p(small_cpu(), log.options({}));
    tensor t = make_here(p, 100, {});
    EXPECT_EQ(byte_of(t, 5), static_cast<unsigned char>(fill_of_new_bytes));
    poke(t.data(), 100);
    t.reset();
    EXPECT_EQ(p.control().debug_counts().quarantined_blocks, 1U);
    const auto seen = log.take();
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0].kind, misuse_kind::overflow);
    EXPECT_FALSE(seen[0].allocated_at.empty());
    EXPECT_LE(seen[0].allocated_at.size(), 3U);
    const tensor left = p.allocate(1);
    EXPECT_EQ(p.close(), 1U);
  }
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("1 tensor is alive"), std::string::npos) << text;
}

TEST(DebugEnvironment, WinsOverTheProgram) {
  const environment set("poison=0,guard=none,quarantine=0,sites=0,leaks=0");
  pool p(small_cpu(), {.debug = {.poison = true,
                                 .guard = guard_mode::canary,
                                 .quarantine_bytes = mib,
                                 .call_site_frames = 4,
                                 .report_leaks = true}});
  for (int i = 0; i < 100; ++i) {
    const tensor t = p.allocate(100);
  }
  EXPECT_EQ(p.control().debug_counts().guarded, 0U);
  EXPECT_GT(p.control().statistics().total.front_hits, 90U)
      << "no mode is left: the gates are open";
}

TEST(DebugEnvironment, AGuardThatNobodyKnowsIsToldAndLeftOut) {
  const environment set("guard=walls");
  ::testing::internal::CaptureStderr();
  pool p(small_cpu());
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("canary"), std::string::npos) << text;
  const tensor t = p.allocate(100);
  EXPECT_EQ(p.control().debug_counts().guarded, 0U);
}

TEST(DebugOff, TheGatesStayOpenAndNothingIsKept) {
  EXPECT_FALSE(debug_options{}.any());
  pool p(small_cpu());
  for (int i = 0; i < 1000; ++i) {
    const tensor t = p.allocate(64 * kib);
  }
  const statistics s = p.control().statistics();
  EXPECT_GE(s.total.front_hits, 998U);
  EXPECT_EQ(p.control().check_memory(), 0U);
  const debug_counts counts = p.control().debug_counts();
  EXPECT_EQ(counts.guarded + counts.verified_bytes + counts.skipped + counts.call_sites, 0U);
}

TEST(DebugOn, EveryOperationTakesTheSlowPath) {
  for (const debug_options& modes :
       {debug_options{.poison = true}, debug_options{.guard = guard_mode::canary},
        debug_options{.guard = guard_mode::pages}, debug_options{.quarantine_bytes = 1},
        debug_options{.call_site_frames = 1}, debug_options{.report_leaks = true}}) {
    EXPECT_TRUE(modes.any());
    pool p(small_cpu(), {.debug = modes});
    for (int i = 0; i < 100; ++i) {
      const tensor t = p.allocate(1000);
    }
    EXPECT_EQ(p.control().statistics().total.front_hits, 0U);
    EXPECT_EQ(p.control().statistics().total.allocations, 100U);
    p.control().set_observer(nullptr);  // opens gates that observers closed
    (void)p.control().trim(0);
    for (int i = 0; i < 100; ++i) {
      const tensor t = p.allocate(1000);
    }
    EXPECT_EQ(p.control().statistics().total.front_hits, 0U);
  }
}

}  // namespace
}  // namespace tidepool::test
