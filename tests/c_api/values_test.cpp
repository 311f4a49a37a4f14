// SPDX-License-Identifier: Apache-2.0
//
// The C interface's constants equal the C++ ones; its structs have the layout that was published.
#include "support.hpp"
#include <tidepool/attributes.hpp>
#include <tidepool/debug.hpp>
#include <tidepool/device.hpp>
#include <tidepool/info.hpp>
#include <tidepool/prewarm.hpp>
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>
#include <tidepool/version.hpp>

#include <type_traits>

namespace {

using tidepool::category;
using tidepool::device;
using tidepool::errc;
using tidepool::lifecycle;
using tidepool::misuse_kind;
using tidepool::stream_kind;
using tidepool::tensor_flags;

template <class E>
constexpr bool equal(int c, E cpp) {
  return static_cast<std::underlying_type_t<E>>(cpp) == c;
}

static_assert(equal(TIDEPOOL_OK, errc::ok));
static_assert(equal(TIDEPOOL_OUT_OF_MEMORY, errc::out_of_memory));
static_assert(equal(TIDEPOOL_OVER_BUDGET, errc::over_budget));
static_assert(equal(TIDEPOOL_INVALID_ARGUMENT, errc::invalid_argument));
static_assert(equal(TIDEPOOL_UNKNOWN_DEVICE, errc::unknown_device));
static_assert(equal(TIDEPOOL_STALE_ID, errc::stale_id));
static_assert(equal(TIDEPOOL_KEY_IN_USE, errc::key_in_use));
static_assert(equal(TIDEPOOL_NOT_FOUND, errc::not_found));
static_assert(equal(TIDEPOOL_UNSUPPORTED, errc::unsupported));
static_assert(equal(TIDEPOOL_BACKEND_UNAVAILABLE, errc::backend_unavailable));
static_assert(equal(TIDEPOOL_DEVICE_LOST, errc::device_lost));
static_assert(equal(TIDEPOOL_DRIVER_ERROR, errc::driver_error));
static_assert(equal(TIDEPOOL_CLOSED, errc::closed));
static_assert(equal(TIDEPOOL_TOO_MANY, errc::too_many));
static_assert(equal(TIDEPOOL_STREAM_CAPTURES, errc::stream_captures));

static_assert(equal(TIDEPOOL_CATEGORY_TEMPORARY, category::temporary));
static_assert(equal(TIDEPOOL_CATEGORY_ACTIVATION, category::activation));
static_assert(equal(TIDEPOOL_CATEGORY_WORKSPACE, category::workspace));
static_assert(equal(TIDEPOOL_CATEGORY_INPUT, category::input));
static_assert(equal(TIDEPOOL_CATEGORY_OUTPUT, category::output));
static_assert(equal(TIDEPOOL_CATEGORY_STAGING, category::staging));
static_assert(equal(TIDEPOOL_CATEGORY_COMMUNICATION, category::communication));
static_assert(equal(TIDEPOOL_CATEGORY_GRADIENT, category::gradient));
static_assert(equal(TIDEPOOL_CATEGORY_WEIGHT, category::weight));
static_assert(equal(TIDEPOOL_CATEGORY_KV_CACHE, category::kv_cache));
static_assert(equal(TIDEPOOL_CATEGORY_EXPERT, category::expert));
static_assert(equal(TIDEPOOL_CATEGORY_EMBEDDING, category::embedding));
static_assert(equal(TIDEPOOL_CATEGORY_ADAPTER, category::adapter));
static_assert(equal(TIDEPOOL_CATEGORY_OPTIMIZER, category::optimizer));
static_assert(equal(TIDEPOOL_CATEGORY_PERSISTENT, category::persistent));
static_assert(equal(TIDEPOOL_CATEGORY_OTHER, category::other));

// One more than in C++, so that zeroed options ask for the default.
static_assert(TIDEPOOL_LIFECYCLE_AUTOMATIC == 0 && equal(255, lifecycle::automatic));
static_assert(equal(TIDEPOOL_LIFECYCLE_TEMPORARY - 1, lifecycle::temporary));
static_assert(equal(TIDEPOOL_LIFECYCLE_PERSISTENT - 1, lifecycle::persistent));
static_assert(equal(TIDEPOOL_LIFECYCLE_INACTIVE - 1, lifecycle::inactive));
static_assert(equal(TIDEPOOL_LIFECYCLE_COMPRESSED - 1, lifecycle::compressed));
static_assert(equal(TIDEPOOL_LIFECYCLE_EVICTED - 1, lifecycle::evicted));
static_assert(TIDEPOOL_LIFECYCLE_EVICTED == tidepool::lifecycle_count);

static_assert(equal(TIDEPOOL_FLAG_PINNED_IN_PLACE, tensor_flags::pinned_in_place));
static_assert(equal(TIDEPOOL_FLAG_SHARED, tensor_flags::shared));
static_assert(equal(TIDEPOOL_FLAG_TRACKED, tensor_flags::tracked));
static_assert(equal(TIDEPOOL_FLAG_MOVABLE, tensor_flags::movable));
static_assert(equal(TIDEPOOL_FLAG_ADOPTED, tensor_flags::adopted));
static_assert(equal(TIDEPOOL_FLAG_SLICE, tensor_flags::slice));
static_assert(equal(TIDEPOOL_FLAG_KEYED, tensor_flags::keyed));
static_assert(equal(TIDEPOOL_FLAG_USED_ELSEWHERE, tensor_flags::used_elsewhere));

static_assert(equal(TIDEPOOL_STREAM_NONE, stream_kind::none));
static_assert(equal(TIDEPOOL_STREAM_ORDINARY, stream_kind::ordinary));
static_assert(equal(TIDEPOOL_STREAM_LEGACY, stream_kind::legacy));
static_assert(equal(TIDEPOOL_STREAM_PER_THREAD, stream_kind::per_thread));

static_assert(equal(TIDEPOOL_MISUSE_STALE_FREE, misuse_kind::stale_free));
static_assert(equal(TIDEPOOL_MISUSE_FOREIGN_ID, misuse_kind::foreign_id));
static_assert(equal(TIDEPOOL_MISUSE_STALE_USE, misuse_kind::stale_use));
static_assert(equal(TIDEPOOL_MISUSE_RACING_FREE, misuse_kind::racing_free));
static_assert(equal(TIDEPOOL_MISUSE_UNBALANCED, misuse_kind::unbalanced));
static_assert(equal(TIDEPOOL_MISUSE_AFTER_CLOSE, misuse_kind::after_close));
static_assert(equal(TIDEPOOL_MISUSE_OVERFLOW, misuse_kind::overflow));
static_assert(equal(TIDEPOOL_MISUSE_UNDERFLOW, misuse_kind::underflow));
static_assert(equal(TIDEPOOL_MISUSE_WRITE_AFTER_FREE, misuse_kind::write_after_free));
static_assert(equal(TIDEPOOL_MISUSE_UNRETIRED_STREAM, misuse_kind::unretired_stream));
static_assert(TIDEPOOL_MISUSE_UNRETIRED_STREAM + 1 == tidepool::misuse_kind_count);
static_assert(equal(TIDEPOOL_GUARD_NONE, tidepool::guard_mode::none));
static_assert(equal(TIDEPOOL_GUARD_CANARY, tidepool::guard_mode::canary));
static_assert(equal(TIDEPOOL_GUARD_PAGES, tidepool::guard_mode::pages));

// Padding at the end would be garbage of older callers where a later version has a field.
template <class T>
constexpr bool has_no_padding = std::has_unique_object_representations_v<T>;
static_assert(sizeof(tidepool_tensor) == 16 && has_no_padding<tidepool_tensor>);
static_assert(sizeof(tidepool_stream) == 16 && has_no_padding<tidepool_stream>);
static_assert(sizeof(tidepool_allocation_options) == 48);
static_assert(has_no_padding<tidepool_allocation_options>);
static_assert(sizeof(tidepool_adopt_options) == 40 && has_no_padding<tidepool_adopt_options>);
static_assert(sizeof(tidepool_misuse_report) == 88 && has_no_padding<tidepool_misuse_report>);
static_assert(sizeof(tidepool_pool_options) == 176 && has_no_padding<tidepool_pool_options>);
static_assert(sizeof(tidepool_tensor_info) == 80 && has_no_padding<tidepool_tensor_info>);
static_assert(sizeof(tidepool_failure) == 40 && has_no_padding<tidepool_failure>);
static_assert(sizeof(tidepool_observer) == 40 && has_no_padding<tidepool_observer>);
static_assert(sizeof(tidepool_device_description) == 96);
static_assert(has_no_padding<tidepool_device_description>);
static_assert(sizeof(tidepool_memory_info) == 64 && has_no_padding<tidepool_memory_info>);
static_assert(sizeof(tidepool_trim_report) == 64 && has_no_padding<tidepool_trim_report>);
static_assert(sizeof(tidepool_limits) == 24 && has_no_padding<tidepool_limits>);
static_assert(sizeof(tidepool_reclaim_request) == 48 && has_no_padding<tidepool_reclaim_request>);
static_assert(sizeof(tidepool_prewarm_item) == 16 && has_no_padding<tidepool_prewarm_item>);
static_assert(sizeof(tidepool_prewarm_plan) == 32 && has_no_padding<tidepool_prewarm_plan>);
static_assert(sizeof(tidepool_prewarm_report) == 32 && has_no_padding<tidepool_prewarm_report>);
static_assert(sizeof(tidepool_domain_options) == 32 && has_no_padding<tidepool_domain_options>);
static_assert(sizeof(tidepool_access_batch) == 136 && has_no_padding<tidepool_access_batch>);
static_assert(sizeof(tidepool_access_report) == 64 && has_no_padding<tidepool_access_report>);
static_assert(sizeof(tidepool_access_info) == 72);
static_assert(sizeof(tidepool_access_filter) == 72 && has_no_padding<tidepool_access_filter>);
static_assert(sizeof(tidepool_category_accesses) == 24);
static_assert(has_no_padding<tidepool_category_accesses>);
static_assert(sizeof(tidepool_access_ages) == 536 && has_no_padding<tidepool_access_ages>);
static_assert(sizeof(tidepool_access_totals) == 88 && has_no_padding<tidepool_access_totals>);
static_assert(sizeof(tidepool_access_predictor) == 24 && has_no_padding<tidepool_access_predictor>);
static_assert(sizeof(tidepool_statistics) == 21 * 8);  // doubles: 8 bytes each, no padding
static_assert(sizeof(tidepool_cpu_backend_options) == 56);
static_assert(has_no_padding<tidepool_cpu_backend_options>);

TEST(CApiValues, StatusTextsAreThoseOfErrc) {
  for (tidepool_status code = TIDEPOOL_OK; code <= TIDEPOOL_STREAM_CAPTURES; ++code) {
    EXPECT_STREQ(tidepool_status_text(code), tidepool::describe(static_cast<errc>(code)));
    EXPECT_STRNE(tidepool_status_text(code), "unknown error code") << code;
  }
  EXPECT_STREQ(tidepool_status_text(TIDEPOOL_STREAM_CAPTURES + 1), "unknown error code");
  EXPECT_STREQ(tidepool_status_text(-1), "unknown error code");
}

TEST(CApiValues, VersionIsTheLibrarys) {
  EXPECT_STREQ(tidepool_version(), tidepool::version());
  const std::string header = std::to_string(TIDEPOOL_VERSION_MAJOR) + "." +
                             std::to_string(TIDEPOOL_VERSION_MINOR) + "." +
                             std::to_string(TIDEPOOL_VERSION_PATCH);
  EXPECT_EQ(tidepool_version(), header);
}

TEST(CApiValues, DevicesAreThoseOfCpp) {
  EXPECT_EQ(tidepool_device_cpu(), device::cpu().bits());
  EXPECT_EQ(tidepool_device_cpu_node(0), device::cpu(0).bits());
  EXPECT_EQ(tidepool_device_cpu_node(254), device::cpu(254).bits());
  EXPECT_EQ(tidepool_device_cuda(65535), device::cuda(65535).bits());
  EXPECT_EQ(tidepool_device_pinned(3), device::pinned(device::cuda(3)).bits());
  EXPECT_EQ(tidepool_device_pinned_node(3), device::pinned(std::uint8_t{3}).bits());
  EXPECT_EQ(tidepool_device_managed(1), device::managed(device::cuda(1)).bits());
  EXPECT_EQ(tidepool_device_user(7), device::user(7).bits());
  EXPECT_EQ(tidepool_device_automatic(), tidepool::placement::automatic.bits());
}

TEST(CApiValues, NumbersOutOfRangeNameNoDevice) {
  const tidepool_device none = tidepool_device_cuda(-1);
  EXPECT_NE(none, tidepool_device_automatic());
  for (const int ordinal : {-1, -2147483647 - 1, 65536, 2147483647}) {
    EXPECT_EQ(tidepool_device_cuda(ordinal), none);
    EXPECT_EQ(tidepool_device_pinned(ordinal), none);
    EXPECT_EQ(tidepool_device_managed(ordinal), none);
    EXPECT_EQ(tidepool_device_user(ordinal), none);
    EXPECT_EQ(tidepool_device_cpu_node(ordinal), none);
    EXPECT_EQ(tidepool_device_pinned_node(ordinal), none);
  }
  EXPECT_EQ(tidepool_device_cpu_node(255), none) << "255 is: any node";
}

TEST(CApiValues, DeviceTextIsWrittenAsSnprintfDoes) {
  char text[16];
  EXPECT_EQ(tidepool_device_text(tidepool_device_cuda(12), text, sizeof text), 7U);
  EXPECT_STREQ(text, "cuda:12");
  std::memset(text, 'x', sizeof text);
  EXPECT_EQ(tidepool_device_text(tidepool_device_cuda(12), text, 4), 7U);
  EXPECT_STREQ(text, "cud");
  EXPECT_EQ(text[4], 'x') << "wrote beyond the size";
  EXPECT_EQ(tidepool_device_text(tidepool_device_cpu(), nullptr, 0), 3U);
  EXPECT_EQ(tidepool_device_text(tidepool_device_cpu(), nullptr, 9), 0U);
}

}  // namespace
