// SPDX-License-Identifier: Apache-2.0
//
// Debug modes through the C interface: options, reports of damage, leaks.
#include "support.hpp"

namespace {

struct damage {
  tidepool_misuse_report report{};
  std::string name;
  std::string details;
  int calls = 0;
};
void note_damage(const tidepool_misuse_report* report, void* context) {
  auto& to = *static_cast<damage*>(context);
  to.report = *report;
  to.name = report->name == nullptr ? "" : report->name;
  to.details = report->details == nullptr ? "" : report->details;
  ++to.calls;
}
void note_leaks(const char* text, void* context) {
  *static_cast<std::string*>(context) += text;
}
// Not inlined: compilers would see what is written where.
[[gnu::noinline]] void poke(void* data, std::ptrdiff_t offset) {
  static_cast<volatile unsigned char*>(data)[offset] = 0x11;
}

class CApiDebug : public c_api_pool {
 protected:
  [[nodiscard]] tidepool_pool_options modes() {
    auto options = sized<tidepool_pool_options>();
    options.on_misuse = note_damage;
    options.misuse_context = &seen;
    options.debug_guard = TIDEPOOL_GUARD_CANARY;
    options.debug_quarantine_bytes = std::size_t{1} << 20;
    options.debug_call_site_frames = 4;
    options.debug_poison = 1;
    options.debug_report_leaks = 1;
    options.on_leaks = note_leaks;
    options.leaks_context = &leaks;
    return options;
  }
  damage seen;
  std::string leaks;
};

TEST_F(CApiDebug, DamagesAreReported) {
  const tidepool_pool_options options = modes();
  tidepool_pool* const debugged = make(&options);
  auto named = sized<tidepool_allocation_options>();
  ASSERT_EQ(tidepool_intern(debugged, "blk.7", &named.name), TIDEPOOL_OK);
  tidepool_tensor made{};
  ASSERT_EQ(tidepool_allocate(debugged, 100, cpu, &named, &made), TIDEPOOL_OK);
  poke(made.data, 103);
  std::size_t damages = 0;
  EXPECT_EQ(tidepool_check_memory(debugged, &damages), TIDEPOOL_OK);
  EXPECT_EQ(damages, 1U);
  EXPECT_EQ(seen.calls, 1);
  EXPECT_EQ(seen.report.size, sizeof seen.report);
  EXPECT_EQ(seen.report.kind, static_cast<std::uint32_t>(TIDEPOOL_MISUSE_OVERFLOW));
  EXPECT_EQ(seen.report.id, made.id);
  EXPECT_EQ(seen.report.data, made.data);
  EXPECT_EQ(seen.report.bytes, 100U);
  EXPECT_EQ(seen.report.offset, 103);
  EXPECT_EQ(seen.report.damaged_bytes, 1U);
  EXPECT_EQ(seen.name, "blk.7");
  EXPECT_NE(seen.details.find("made at"), std::string::npos) << seen.details;

  EXPECT_EQ(tidepool_deallocate(debugged, made.id), TIDEPOOL_OK);
  EXPECT_EQ(seen.calls, 1) << "mended";
  poke(made.data, 5);
  EXPECT_EQ(tidepool_check_memory(debugged, nullptr), TIDEPOOL_OK);
  EXPECT_EQ(seen.report.kind, static_cast<std::uint32_t>(TIDEPOOL_MISUSE_WRITE_AFTER_FREE));
  EXPECT_EQ(seen.report.offset, 5);
  tidepool_pool_destroy(debugged);
  EXPECT_EQ(leaks, "");
}

TEST_F(CApiDebug, LeaksAreToldOnDemandAndAtTheEnd) {
  const tidepool_pool_options options = modes();
  tidepool_pool* const debugged = make(&options);
  tidepool_tensor made{};
  ASSERT_EQ(tidepool_allocate(debugged, 100, cpu, nullptr, &made), TIDEPOOL_OK);
  std::string text(tidepool_leaks_text(debugged, nullptr, 0) + 1, '\0');
  text.resize(tidepool_leaks_text(debugged, text.data(), text.size()));
  EXPECT_NE(text.find("1 tensor is alive"), std::string::npos) << text;
  EXPECT_EQ(leaks, "");
  tidepool_pool_destroy(debugged);
  EXPECT_EQ(leaks, text);
}

TEST_F(CApiDebug, OptionsThatCannotBeAreRefused) {
  for (int wrong = 0; wrong < 3; ++wrong) {
    auto options = sized<tidepool_pool_options>();
    options.debug_guard = wrong == 0 ? 3 : 0;
    options.debug_reserved = wrong == 1 ? 1 : 0;
    options.debug_call_site_frames = wrong == 2 ? 17 : 0;
    tidepool_backend* backend = host_memory();
    tidepool_pool* other = pool;
    EXPECT_EQ(tidepool_pool_create(&backend, 1, &options, &other), TIDEPOOL_INVALID_ARGUMENT);
    EXPECT_EQ(other, nullptr);
  }
}

TEST_F(CApiDebug, WithoutModesThereIsNothingToCheck) {
  std::size_t damages = 1;
  EXPECT_EQ(tidepool_check_memory(pool, &damages), TIDEPOOL_OK);
  EXPECT_EQ(damages, 0U);
  EXPECT_EQ(tidepool_check_memory(nullptr, &damages), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_leaks_text(nullptr, nullptr, 0), 0U);
  EXPECT_EQ(tidepool_leaks_text(pool, nullptr, 1), 0U);
}

}  // namespace
