// SPDX-License-Identifier: Apache-2.0
//
// Questions about access entries through the C interface: ages, categories, totals, filters.
// Ranking is in access_test.cpp.
#include "access_support.hpp"

#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

namespace {

/// Four experts, used at ticks 9 (twice), 7, 5 and never.
class CApiAccessQuery : public c_api_accesses {
 protected:
  CApiAccessQuery() {
    use(0, 9);
    use(1, 7);
    use(2, 5);
    use(0, 9);
  }
  void use(std::int32_t index, std::uint64_t tick) {
    auto batch = sized<tidepool_access_batch>();
    batch.indices = &index;
    batch.count = 1;
    batch.where = experts;
    batch.tick = tick;
    EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK) << last_error();
  }
  [[nodiscard]] tidepool_access_totals totals() {
    auto answer = sized<tidepool_access_totals>();
    EXPECT_EQ(tidepool_total_accesses(pool, &answer), TIDEPOOL_OK) << last_error();
    return answer;
  }
  const tidepool_domain experts = make_domain(4, true);
};

TEST_F(CApiAccessQuery, OlderThanCountsAllAndWritesTheColdest) {
  std::array<tidepool_access_info, 4> out{};
  out[0].size = sizeof(tidepool_access_info);
  std::size_t count = 4;
  std::size_t found = 0;
  ASSERT_EQ(tidepool_older_than(pool, 7, nullptr, out.data(), &count, &found), TIDEPOOL_OK);
  EXPECT_EQ(found, 2U);
  ASSERT_EQ(count, 2U);
  EXPECT_EQ(out[0].index, 3U);
  EXPECT_EQ(out[1].index, 2U);
  EXPECT_EQ(out[1].tick, 5U);
  EXPECT_EQ(out[2].size, 0U) << "wrote more than it found";
  count = 1;
  ASSERT_EQ(tidepool_older_than(pool, 8, nullptr, out.data(), &count, &found), TIDEPOOL_OK);
  EXPECT_EQ(found, 3U);
  EXPECT_EQ(count, 1U);
  EXPECT_EQ(out[0].index, 3U);
  count = 0;
  ASSERT_EQ(tidepool_older_than(pool, 10, nullptr, nullptr, &count, &found), TIDEPOOL_OK);
  EXPECT_EQ(found, 4U);
  count = 4;
  ASSERT_EQ(tidepool_older_than(pool, 10, nullptr, out.data(), &count, nullptr), TIDEPOOL_OK);
  EXPECT_EQ(count, 4U);
  auto filter = sized<tidepool_access_filter>();
  filter.within = make_domain(1, true);
  ASSERT_EQ(tidepool_older_than(pool, 10, &filter, out.data(), &count, &found), TIDEPOOL_OK);
  EXPECT_EQ(found, 1U);
  EXPECT_EQ(count, 1U);
  EXPECT_EQ(out[0].bound_to, filter.within);
}

TEST_F(CApiAccessQuery, SumsByCategory) {
  const tidepool_tensor other = weight();
  std::vector<tidepool_category_accesses> out(300);
  out[0].size = sizeof(tidepool_category_accesses);
  std::size_t count = out.size();
  ASSERT_EQ(tidepool_accesses_by_category(pool, nullptr, out.data(), &count), TIDEPOOL_OK);
  EXPECT_EQ(count, 256U);
  EXPECT_EQ(out[TIDEPOOL_CATEGORY_EXPERT].entries, 4U);
  EXPECT_EQ(out[TIDEPOOL_CATEGORY_EXPERT].count, 4U);
  EXPECT_EQ(out[TIDEPOOL_CATEGORY_WEIGHT].entries, 1U);
  EXPECT_EQ(out[TIDEPOOL_CATEGORY_WEIGHT].count, 0U);
  EXPECT_EQ(out[255].size, sizeof(tidepool_category_accesses));
  EXPECT_EQ(out[256].size, 0U) << "there are 256 categories";
  const std::uint64_t entries = std::accumulate(
      out.begin(), out.end(), std::uint64_t{0},
      [](std::uint64_t sum, const tidepool_category_accesses& one) { return sum + one.entries; });
  EXPECT_EQ(entries, 5U);

  out.assign(300, {});
  out[0].size = sizeof(tidepool_category_accesses);
  auto filter = sized<tidepool_access_filter>();
  filter.categories[0] = std::uint64_t{1} << TIDEPOOL_CATEGORY_WEIGHT;
  count = TIDEPOOL_CATEGORY_EXPERT + 1;
  ASSERT_EQ(tidepool_accesses_by_category(pool, &filter, out.data(), &count), TIDEPOOL_OK);
  EXPECT_EQ(count, TIDEPOOL_CATEGORY_EXPERT + 1U);
  EXPECT_EQ(out[TIDEPOOL_CATEGORY_WEIGHT].entries, 1U);
  EXPECT_EQ(out[TIDEPOOL_CATEGORY_EXPERT].entries, 0U);
  EXPECT_EQ(out[TIDEPOOL_CATEGORY_EXPERT + 1].size, 0U) << "wrote more than there is room for";
  count = 0;
  EXPECT_EQ(tidepool_accesses_by_category(pool, nullptr, nullptr, &count), TIDEPOOL_OK);
  free(other.id);
}

TEST_F(CApiAccessQuery, AgesInPowersOfTwo) {
  auto ages = sized<tidepool_access_ages>();
  ASSERT_EQ(tidepool_age_histogram(pool, nullptr, &ages), TIDEPOOL_OK) << last_error();
  EXPECT_EQ(ages.now, 9U);
  std::array<std::uint64_t, 65> expected{};
  for (const unsigned bin : {0U, 2U, 3U, 4U}) {  // ages 0, 2, 4, 9
    expected[bin] = 1;
  }
  for (std::size_t bin = 0; bin < expected.size(); ++bin) {
    EXPECT_EQ(ages.entries[bin], expected[bin]) << bin;
  }
  use(3, UINT64_MAX);
  ASSERT_EQ(tidepool_age_histogram(pool, nullptr, &ages), TIDEPOOL_OK) << last_error();
  EXPECT_EQ(ages.now, UINT64_MAX);
  EXPECT_EQ(ages.entries[64], 3U) << "the last bin";
  auto filter = sized<tidepool_access_filter>();
  filter.categories[0] = std::uint64_t{1} << TIDEPOOL_CATEGORY_WEIGHT;
  ASSERT_EQ(tidepool_age_histogram(pool, &filter, &ages), TIDEPOOL_OK) << last_error();
  EXPECT_EQ(std::accumulate(std::begin(ages.entries), std::end(ages.entries), 0U), 0U);
}

TEST_F(CApiAccessQuery, TotalsOfAllBatches) {
  const tidepool_access_totals before = totals();
  EXPECT_EQ(before.batches, 4U);
  EXPECT_EQ(before.recorded, 4U);
  // Each kind another number of times: 1 recorded, 2 duplicates, 3 paddings, 4 out of range, and
  // 5 masked.
  const std::array<std::int32_t, 15> indices{1, 1, 1, -1, -1, -1, 4, 5, 6, 7, 0, 0, 0, 0, 0};
  const std::array<std::uint8_t, 15> mask{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0};
  auto batch = sized<tidepool_access_batch>();
  batch.indices = indices.data();
  batch.count = indices.size();
  batch.where = experts;
  batch.mode = TIDEPOOL_ACCESS_ONCE;
  batch.mask = mask.data();
  ASSERT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK) << last_error();
  const std::array<std::int32_t, 6> unbound{0, 0, 0, 0, 0, 0};
  batch = sized<tidepool_access_batch>();
  batch.indices = unbound.data();
  batch.count = unbound.size();
  batch.where = make_domain(1);
  ASSERT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK) << last_error();
  const tidepool_access_totals sums = totals();
  EXPECT_EQ(sums.batches, 6U);
  EXPECT_EQ(sums.recorded, 5U);
  EXPECT_EQ(sums.duplicates, 2U);
  EXPECT_EQ(sums.padding, 3U);
  EXPECT_EQ(sums.out_of_range, 4U);
  EXPECT_EQ(sums.masked, 5U);
  EXPECT_EQ(sums.stale, 6U);
  EXPECT_EQ(sums.deferred, 0U);
  EXPECT_EQ(sums.saturated, 0U);
  EXPECT_EQ(sums.rebases, 0U);
}

TEST_F(CApiAccessQuery, TotalsCountHowOftenScoresWereShifted) {
  auto options = sized<tidepool_pool_options>();
  options.access_half_life = 1;
  tidepool_pool* const other = make(&options);
  auto domain = sized<tidepool_domain_options>();
  domain.elements = 1;
  domain.standalone = 1;
  domain.where = cpu;
  domain.category = TIDEPOOL_CATEGORY_EXPERT;
  auto batch = sized<tidepool_access_batch>();
  ASSERT_EQ(tidepool_domain_create(other, &domain, &batch.where), TIDEPOOL_OK) << last_error();
  const std::int32_t first = 0;
  batch.indices = &first;
  batch.count = 1;
  // 32 half-lives later the scores no longer fit.
  for (const std::uint64_t tick : {1U, 20U, 100U, 101U, 200U}) {
    batch.tick = tick;
    EXPECT_EQ(tidepool_record_access(other, &batch, nullptr), TIDEPOOL_OK) << last_error();
  }
  auto sums = sized<tidepool_access_totals>();
  EXPECT_EQ(tidepool_total_accesses(other, &sums), TIDEPOOL_OK) << last_error();
  EXPECT_EQ(sums.recorded, 5U);
  EXPECT_EQ(sums.rebases, 2U);
  tidepool_pool_destroy(other);
}

TEST_F(CApiAccessQuery, ABadFilterIsRefusedAndNothingIsWritten) {
  auto infos = sized<tidepool_access_info>();
  auto sums = sized<tidepool_category_accesses>();
  auto ages = sized<tidepool_access_ages>();
  std::size_t count = 1;
  std::size_t found = 77;
  const auto refuses = [&](const tidepool_access_filter& filter) {
    const tidepool_status bad = TIDEPOOL_INVALID_ARGUMENT;
    EXPECT_EQ(tidepool_coldest(pool, 0, &filter, &infos, &count), bad);
    EXPECT_EQ(tidepool_hottest(pool, 0, &filter, &infos, &count), bad);
    EXPECT_EQ(tidepool_older_than(pool, 10, &filter, &infos, &count, &found), bad);
    EXPECT_EQ(tidepool_accesses_by_category(pool, &filter, &sums, &count), bad);
    EXPECT_EQ(tidepool_age_histogram(pool, &filter, &ages), bad);
    EXPECT_EQ(count, 1U);
    EXPECT_EQ(found, 77U);
    EXPECT_EQ(infos.bound_to, 0U);
    EXPECT_EQ(ages.now, 0U);
  };
  for (const unsigned bit : {0U, TIDEPOOL_LIFECYCLE_EVICTED + 1U, 63U}) {
    SCOPED_TRACE(bit);
    auto filter = sized<tidepool_access_filter>();
    filter.lifecycles = std::uint64_t{1} << bit | std::uint64_t{1} << TIDEPOOL_LIFECYCLE_PERSISTENT;
    refuses(filter);
  }
  tidepool_access_filter no_size{};
  refuses(no_size);
}

}  // namespace
