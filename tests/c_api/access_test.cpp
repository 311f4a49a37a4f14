// SPDX-License-Identifier: Apache-2.0
//
// Access entries and domains through the C interface.
#include "support.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

namespace {

class CApiAccess : public c_api_pool {
 protected:
  [[nodiscard]] tidepool_tensor weight(std::uint64_t key = 0) {
    auto options = sized<tidepool_allocation_options>();
    options.category = TIDEPOOL_CATEGORY_WEIGHT;
    options.key = key;
    return allocate(64, &options);
  }
  [[nodiscard]] tidepool_domain make_domain(std::size_t elements, bool standalone = false) {
    auto options = sized<tidepool_domain_options>();
    options.elements = elements;
    options.standalone = standalone ? 1 : 0;
    options.where = cpu;
    options.category = TIDEPOOL_CATEGORY_EXPERT;
    tidepool_domain made = 0;
    EXPECT_EQ(tidepool_domain_create(pool, &options, &made), TIDEPOOL_OK) << last_error();
    return made;
  }
  [[nodiscard]] tidepool_access_info at(tidepool_domain within, std::uint64_t index) {
    auto info = sized<tidepool_access_info>();
    EXPECT_EQ(tidepool_access_at(pool, within, index, &info), TIDEPOOL_OK) << last_error();
    return info;
  }
};

TEST_F(CApiAccess, RecordsByIdKeyAndIndex) {
  const tidepool_tensor a = weight(7);
  ASSERT_EQ(tidepool_track(pool, a.id, 2), TIDEPOOL_OK);
  const tidepool_domain d = make_domain(4);
  ASSERT_EQ(tidepool_bind_parts(pool, d, 1, a.id, 0, 0), TIDEPOOL_OK);
  auto batch = sized<tidepool_access_batch>();
  const std::array<tidepool_tensor_id, 2> ids{a.id, 0};
  batch.tensors = ids.data();
  batch.count = ids.size();
  batch.tick = 5;
  auto report = sized<tidepool_access_report>();
  ASSERT_EQ(tidepool_record_access(pool, &batch, &report), TIDEPOOL_OK) << last_error();
  EXPECT_EQ(report.recorded, 1U);
  EXPECT_EQ(report.padding, 1U);
  batch.tensors = nullptr;
  const std::array<std::uint64_t, 2> keys{7, 8};
  batch.keys = keys.data();
  ASSERT_EQ(tidepool_record_access(pool, &batch, &report), TIDEPOOL_OK) << last_error();
  EXPECT_EQ(report.recorded, 1U);
  EXPECT_EQ(report.stale, 1U);
  batch.keys = nullptr;
  const std::array<std::int64_t, 4> indices{1, 2, 2, 9};
  const std::array<std::uint32_t, 4> weights{1, 2, 3, 4};
  batch.indices = indices.data();
  batch.indices_are_wide = 1;
  batch.count = indices.size();
  batch.where = d;
  batch.mode = TIDEPOOL_ACCESS_WEIGHTED;
  batch.weights = weights.data();
  ASSERT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK) << last_error();
  EXPECT_EQ(tidepool_flush_access(pool), TIDEPOOL_OK);
  auto info = sized<tidepool_access_info>();
  ASSERT_EQ(tidepool_access_of(pool, a.id, TIDEPOOL_WHOLE_TENSOR, &info), TIDEPOOL_OK);
  EXPECT_EQ(info.count, 2U);
  EXPECT_EQ(info.tick, 5U);
  ASSERT_EQ(tidepool_access_of(pool, a.id, 1, &info), TIDEPOOL_OK);
  EXPECT_EQ(info.count, 5U);
  EXPECT_EQ(info.bound_to, d);
  EXPECT_EQ(info.index, 2U);
  EXPECT_EQ(at(d, 1).part, 0U);
  EXPECT_EQ(tidepool_access_of(pool, a.id, 2, &info), TIDEPOOL_NOT_FOUND);
  EXPECT_EQ(tidepool_domain_drop(pool, d), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_domain_drop(pool, d), TIDEPOOL_NOT_FOUND);
  const tidepool_tensor_id one = a.id;
  EXPECT_EQ(tidepool_prefetch(pool, &one, 1, 64), TIDEPOOL_OK);
  free(a.id);
}

TEST_F(CApiAccess, RowsOfALayout) {
  const tidepool_domain d = make_domain(8, true);
  const std::array<std::int32_t, 8> indices{0, 1, 2, 3, 0, 1, 2, 3};
  const std::array<std::uint8_t, 2> mask{1, 0};
  auto batch = sized<tidepool_access_batch>();
  batch.indices = indices.data();
  batch.count = indices.size();
  batch.where = d;
  batch.layers = 2;
  batch.tokens = 2;
  batch.k = 2;
  batch.extent = 4;
  batch.mask = mask.data();
  ASSERT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK) << last_error();
  const std::array<std::uint64_t, 8> expected{1, 1, 0, 0, 1, 1, 0, 0};
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(at(d, i).count, expected[i]) << i;
  }
  EXPECT_EQ(at(d, 0).id, 0U);
  EXPECT_EQ(at(d, 0).lifecycle, TIDEPOOL_LIFECYCLE_PERSISTENT);
}

TEST_F(CApiAccess, RanksAsManyAsThereIsRoomFor) {
  std::array<tidepool_tensor_id, 3> ids{};
  for (auto& id : ids) {
    id = weight().id;
  }
  const tidepool_domain d = make_domain(2);
  ASSERT_EQ(tidepool_bind(pool, d, 0, &ids[2], 1), TIDEPOOL_OK);
  auto batch = sized<tidepool_access_batch>();
  batch.tensors = ids.data();
  batch.count = 2;
  batch.tick = 9;
  ASSERT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK);
  batch.count = 1;
  ASSERT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK);
  std::array<tidepool_access_info, 5> out{};
  out[0].size = sizeof(tidepool_access_info);
  std::size_t count = 5;
  ASSERT_EQ(tidepool_coldest(pool, TIDEPOOL_ORDER_TICK, nullptr, out.data(), &count), TIDEPOOL_OK);
  ASSERT_EQ(count, 3U);
  EXPECT_EQ(out[0].id, ids[2]);
  EXPECT_EQ(out[1].id, ids[1]);
  EXPECT_EQ(out[2].size, sizeof(tidepool_access_info));
  count = 1;
  ASSERT_EQ(tidepool_hottest(pool, TIDEPOOL_ORDER_COUNT, nullptr, out.data(), &count), TIDEPOOL_OK);
  ASSERT_EQ(count, 1U);
  EXPECT_EQ(out[0].id, ids[0]);
  EXPECT_EQ(out[0].count, 2U);
  auto filter = sized<tidepool_access_filter>();
  filter.within = d;
  filter.categories[0] = std::uint64_t{1} << TIDEPOOL_CATEGORY_WEIGHT;
  filter.lifecycles = std::uint64_t{1} << TIDEPOOL_LIFECYCLE_PERSISTENT;
  filter.devices = &cpu;
  filter.device_count = 1;
  count = 5;
  ASSERT_EQ(tidepool_hottest(pool, TIDEPOOL_ORDER_SCORE, &filter, out.data(), &count), TIDEPOOL_OK);
  ASSERT_EQ(count, 1U);
  EXPECT_EQ(out[0].bound_to, d);
  filter.lifecycles = std::uint64_t{1} << TIDEPOOL_LIFECYCLE_EVICTED;
  ASSERT_EQ(tidepool_coldest(pool, TIDEPOOL_ORDER_TICK, &filter, out.data(), &count), TIDEPOOL_OK);
  EXPECT_EQ(count, 0U);
  for (const tidepool_tensor_id id : ids) {
    free(id);
  }
}

TEST_F(CApiAccess, BadArgumentsAreRefused) {
  auto batch = sized<tidepool_access_batch>();
  auto options = sized<tidepool_domain_options>();
  auto info = sized<tidepool_access_info>();
  tidepool_domain d = 1;
  std::size_t count = 0;
  const tidepool_status bad = TIDEPOOL_INVALID_ARGUMENT;
  EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK) << "nothing is a batch";
  batch.count = 1;
  EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), bad);
  const std::uint64_t key = 1;
  batch.keys = &key;
  batch.mode = 259;  // 3 in the low byte
  EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), bad);
  batch.mode = 256;
  EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), bad);
  batch.mode = 0;
  batch.tensors = &key;
  EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), bad);
  batch.size = 4;
  EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), bad);
  EXPECT_EQ(tidepool_record_access(pool, nullptr, nullptr), bad);
  EXPECT_EQ(tidepool_record_access(nullptr, &batch, nullptr), bad);
  EXPECT_EQ(tidepool_domain_create(pool, &options, &d), bad) << "no elements";
  EXPECT_EQ(d, 0U) << "the output is cleared";
  EXPECT_EQ(tidepool_domain_create(pool, nullptr, &d), bad);
  EXPECT_EQ(tidepool_domain_create(pool, &options, nullptr), bad);
  options.elements = 3;
  options.category = 200;
  EXPECT_EQ(tidepool_domain_create(pool, &options, &d), bad);
  EXPECT_EQ(tidepool_domain_drop(nullptr, 1), bad);
  EXPECT_EQ(tidepool_track(nullptr, 1, 1), bad);
  EXPECT_EQ(tidepool_bind(nullptr, 1, 0, nullptr, 0), bad);
  EXPECT_EQ(tidepool_bind(pool, 1, 0, nullptr, 1), bad);
  EXPECT_EQ(tidepool_bind(pool, 1, 0, nullptr, 0), TIDEPOOL_NOT_FOUND);
  EXPECT_EQ(tidepool_bind_parts(nullptr, 1, 0, 1, 0, 0), bad);
  EXPECT_EQ(tidepool_flush_access(nullptr), bad);
  EXPECT_EQ(tidepool_access_of(pool, 1, 0, nullptr), bad);
  EXPECT_EQ(tidepool_access_of(pool, 1, 0, &info), TIDEPOOL_NOT_FOUND);
  EXPECT_EQ(tidepool_access_at(nullptr, 1, 0, &info), bad);
  EXPECT_EQ(tidepool_coldest(pool, 0, nullptr, nullptr, nullptr), bad);
  EXPECT_EQ(tidepool_coldest(pool, 3, nullptr, nullptr, &count), bad);
  EXPECT_EQ(tidepool_hottest(pool, 256, nullptr, nullptr, &count), bad);
  EXPECT_EQ(tidepool_coldest(pool, 0, nullptr, nullptr, &count), TIDEPOOL_OK);
  count = 1;
  EXPECT_EQ(tidepool_coldest(pool, 0, nullptr, nullptr, &count), bad);
  info.size = 12;
  EXPECT_EQ(tidepool_coldest(pool, 0, nullptr, &info, &count), bad);
  EXPECT_EQ(tidepool_prefetch(pool, nullptr, 1, 64), bad);
}

}  // namespace
