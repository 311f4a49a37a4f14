// SPDX-License-Identifier: Apache-2.0
//
// Limits, the reclaim handler and the report through the C interface.
#include "support.hpp"

#include <gtest/gtest.h>

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

class CApiLimits : public c_api_pool {
 protected:
  const tidepool_device cpu = tidepool_device_cpu();
  const tidepool_device all = tidepool_device_automatic();

  [[nodiscard]] tidepool_limits read(tidepool_device where) {
    auto limits = sized<tidepool_limits>();
    EXPECT_EQ(tidepool_limits_read(pool, where, &limits), TIDEPOOL_OK);
    return limits;
  }
};

TEST_F(CApiLimits, AreSetAndReadForOneDeviceAndForAllTogether) {
  EXPECT_EQ(read(cpu).hard, TIDEPOOL_UNLIMITED);
  auto limits = sized<tidepool_limits>();
  limits.hard = 8 * mib;
  limits.soft = 4 * mib;
  auto report = sized<tidepool_trim_report>();
  ASSERT_EQ(tidepool_set_limits(pool, cpu, &limits, &report), TIDEPOOL_OK);
  EXPECT_EQ(read(cpu).hard, 8 * mib);
  EXPECT_EQ(read(cpu).soft, 4 * mib);
  EXPECT_EQ(read(all).hard, TIDEPOOL_UNLIMITED);
  tidepool_tensor made{};
  EXPECT_EQ(tidepool_allocate(pool, 9 * mib, cpu, nullptr, &made), TIDEPOOL_OVER_BUDGET);
  limits.hard = 6 * mib;
  ASSERT_EQ(tidepool_set_limits(pool, all, &limits, nullptr), TIDEPOOL_OK);
  EXPECT_EQ(read(all).hard, 6 * mib);
  EXPECT_EQ(tidepool_allocate(pool, 7 * mib, cpu, nullptr, &made), TIDEPOOL_OVER_BUDGET);
}

TEST_F(CApiLimits, RefuseBadArguments) {
  auto limits = sized<tidepool_limits>();
  EXPECT_EQ(tidepool_set_limits(pool, tidepool_device_cuda(7), &limits, nullptr),
            TIDEPOOL_UNKNOWN_DEVICE);
  EXPECT_EQ(tidepool_limits_read(pool, tidepool_device_cuda(7), &limits), TIDEPOOL_UNKNOWN_DEVICE);
  limits.size = 0;
  EXPECT_EQ(tidepool_set_limits(pool, cpu, &limits, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_limits_read(pool, cpu, &limits), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_set_limits(pool, cpu, nullptr, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_limits_read(pool, cpu, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_set_limits(nullptr, cpu, &limits, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_limits_read(nullptr, cpu, &limits), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_reset_peaks(nullptr), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_report_text(nullptr, nullptr, 0), 0U);
  EXPECT_EQ(tidepool_report_json(pool, nullptr, 7), 0U);
}

TEST_F(CApiLimits, PeaksCountFromTheLastReset) {
  free(allocate(3 * mib).id);
  ASSERT_EQ(tidepool_trim_all(pool, 0, nullptr), TIDEPOOL_OK);
  ASSERT_EQ(tidepool_reset_peaks(pool), TIDEPOOL_OK);
  auto now = sized<tidepool_statistics>();
  ASSERT_EQ(tidepool_statistics_read(pool, cpu, &now), TIDEPOOL_OK);
  EXPECT_EQ(now.peak_reserved_bytes, 0U);
}

TEST_F(CApiLimits, TheReportNamesTheLastFailure) {
  tidepool_tensor made{};
  ASSERT_NE(tidepool_allocate(pool, SIZE_MAX, cpu, nullptr, &made), TIDEPOOL_OK);
  std::string text(tidepool_report_text(pool, nullptr, 0) + 1, '\0');
  text.resize(tidepool_report_text(pool, text.data(), text.size()));
  EXPECT_NE(text.find("out of memory"), std::string::npos) << text;
  std::string json(tidepool_report_json(pool, nullptr, 0) + 64, '\0');
  json.resize(tidepool_report_json(pool, json.data(), json.size()));
  EXPECT_EQ(json.find("{\"format_version\":1,\"failure\":{\"code\":1,"), 0U) << json;
}

struct spare {
  tidepool_pool* pool = nullptr;
  tidepool_tensor_id id = 0;
  unsigned calls = 0;
  std::size_t needed = 0;
  std::size_t offered = 0;
  std::uint32_t why = 99;
  tidepool_tensor_id first = 0;
};

extern "C" std::size_t give_spare(const tidepool_reclaim_request* request, void* context) {
  auto& self = *static_cast<spare*>(context);
  ++self.calls;
  self.needed = request->bytes;
  self.why = request->why;
  self.offered = request->candidate_count;
  self.first = request->candidate_count == 0 ? 0 : request->candidates[0].id;
  return tidepool_deallocate(self.pool, self.id) == TIDEPOOL_OK ? 4 * mib : 0;
}

TEST_F(CApiLimits, TheReclaimHandlerIsAskedBeforeAnAllocationFails) {
  spare kept;
  auto options = sized<tidepool_pool_options>();
  options.limit_bytes = 8 * mib;
  options.reclaim = give_spare;
  options.reclaim_context = &kept;
  kept.pool = make(&options);
  auto weight = sized<tidepool_allocation_options>();
  weight.category = TIDEPOOL_CATEGORY_WEIGHT;
  tidepool_tensor old{};
  ASSERT_EQ(tidepool_allocate(kept.pool, 5 * mib, cpu, &weight, &old), TIDEPOOL_OK);
  kept.id = old.id;
  tidepool_tensor made{};
  ASSERT_EQ(tidepool_allocate(kept.pool, 5 * mib, cpu, nullptr, &made), TIDEPOOL_OK);
  EXPECT_EQ(kept.calls, 1U);
  EXPECT_EQ(kept.needed, 5 * mib);
  EXPECT_EQ(kept.why, static_cast<std::uint32_t>(TIDEPOOL_PRESSURE_HARD_LIMIT));
  EXPECT_EQ(kept.offered, 1U);
  EXPECT_EQ(kept.first, old.id);
  EXPECT_EQ(tidepool_deallocate(kept.pool, made.id), TIDEPOOL_OK);
  tidepool_pool_destroy(kept.pool);
}

}  // namespace
