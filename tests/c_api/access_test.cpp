// SPDX-License-Identifier: Apache-2.0
//
// Access entries and domains through the C interface: recording, ranking, predictors. Other queries
// are in access_query_test.cpp.
#include "access_support.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

using CApiAccess = c_api_accesses;

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

// What the callback saw: copies, as the batch is valid during the call only.
struct seen_batches {
  tidepool_pool* pool = nullptr;
  std::vector<tidepool_access_batch> all;
  std::uint64_t count_of_first = 0;  // element 0 of the batch's domain, asked during the call
  bool detaches = false;
};

void remember_batch(const tidepool_access_batch* batch, void* context) {
  auto& seen = *static_cast<seen_batches*>(context);
  seen.all.push_back(*batch);
  auto info = sized<tidepool_access_info>();
  if (batch->where != 0 && tidepool_access_at(seen.pool, batch->where, 0, &info) == TIDEPOOL_OK) {
    seen.count_of_first = info.count;
  }
  if (seen.detaches) {
    EXPECT_EQ(tidepool_set_access_predictor(seen.pool, nullptr), TIDEPOOL_OK);
  }
}

class CApiPredictor : public c_api_accesses {
 protected:
  CApiPredictor() {
    seen.pool = pool;
    predictor.observe = remember_batch;
    predictor.context = &seen;
    EXPECT_EQ(tidepool_set_access_predictor(pool, &predictor), TIDEPOOL_OK) << last_error();
  }
  void record(const tidepool_access_batch& batch) {
    EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK) << last_error();
  }
  seen_batches seen;
  tidepool_access_predictor predictor = sized<tidepool_access_predictor>();
};

TEST_F(CApiPredictor, SeesABatchOfIndicesAsItWasGivenAfterItWasRecorded) {
  const std::array<std::int64_t, 16> indices{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 0, 1, 2, 3};
  const std::array<std::uint32_t, 8> weights{1, 2, 3, 4, 5, 6, 7, 8};
  const std::array<std::uint8_t, 2> mask{1, 0};
  const std::array<std::uint64_t, 2> bases{0, 4};
  auto batch = sized<tidepool_access_batch>();
  batch.count = indices.size();
  batch.indices = indices.data();
  batch.where = make_domain(8, true);
  batch.indices_are_wide = 1;
  batch.mode = TIDEPOOL_ACCESS_WEIGHTED;
  batch.tick = 77;
  batch.weights = weights.data();
  batch.mask = mask.data();
  batch.layers = 2;
  batch.tokens = 2;
  batch.k = 2;
  batch.token_stride = 3;
  batch.layer_stride = 7;
  batch.extent = 4;
  batch.bases = bases.data();
  record(batch);
  ASSERT_EQ(seen.all.size(), 1U);
  EXPECT_EQ(std::memcmp(seen.all.data(), &batch, sizeof batch), 0) << "a field was lost";
  EXPECT_EQ(seen.count_of_first, 1U) << "told before it was recorded";
}

TEST_F(CApiPredictor, SeesTensorsKeysAndNarrowIndices) {
  const tidepool_tensor_id id = weight(7).id;
  const std::array<std::uint64_t, 3> keys{7, 7, 8};
  const std::array<std::int32_t, 2> indices{1, -1};
  std::array<tidepool_access_batch, 3> batches{};
  for (auto& batch : batches) {
    batch = sized<tidepool_access_batch>();
  }
  batches[0].tensors = &id;
  batches[0].count = 1;
  batches[0].mode = TIDEPOOL_ACCESS_ONCE;
  batches[1].keys = keys.data();
  batches[1].count = keys.size();
  batches[2].indices = indices.data();
  batches[2].count = indices.size();
  batches[2].where = make_domain(2, true);
  for (const auto& batch : batches) {
    record(batch);
  }
  ASSERT_EQ(seen.all.size(), batches.size());
  for (std::size_t i = 0; i < batches.size(); ++i) {
    EXPECT_EQ(std::memcmp(&seen.all[i], &batches[i], sizeof batches[i]), 0) << i;
  }
  batches[0].count = 0;  // an empty batch
  record(batches[0]);
  batches[2].where = 12345;
  EXPECT_EQ(tidepool_record_access(pool, &batches[2], nullptr), TIDEPOOL_NOT_FOUND);
  EXPECT_EQ(seen.all.size(), batches.size()) << "told of a batch that was not recorded";
  free(id);
}

TEST_F(CApiPredictor, IsReplacedDetachedAndKeptWhenAnotherIsRefused) {
  const std::int32_t first = 0;
  auto batch = sized<tidepool_access_batch>();
  batch.indices = &first;
  batch.count = 1;
  batch.where = make_domain(1, true);
  auto nothing = sized<tidepool_access_predictor>();
  nothing.context = &nothing;
  EXPECT_EQ(tidepool_set_access_predictor(pool, &nothing), TIDEPOOL_INVALID_ARGUMENT);
  record(batch);
  EXPECT_EQ(seen.all.size(), 1U) << "a refused one took the former's place";

  seen_batches others;
  others.pool = pool;
  others.detaches = true;
  predictor.context = &others;
  record(batch);
  EXPECT_EQ(seen.all.size(), 2U) << "the caller's struct was not copied";
  ASSERT_EQ(tidepool_set_access_predictor(pool, &predictor), TIDEPOOL_OK);
  record(batch);
  record(batch);
  EXPECT_EQ(seen.all.size(), 2U);
  EXPECT_EQ(others.all.size(), 1U) << "it detached itself";
}

}  // namespace
