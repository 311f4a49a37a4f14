// SPDX-License-Identifier: Apache-2.0
//
// Access entries by the public interface: who has one, what batches do, each error, each query.
#include "support.hpp"
#include <tidepool/access_tracker.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

namespace tidepool::test {
namespace {

class Accesses : public ::testing::Test {
 protected:
  ~Accesses() override {
    EXPECT_EQ(p.control().verify(), nullptr);
    EXPECT_TRUE(log.take().empty());
  }
  [[nodiscard]] tensor weight(category what = category::weight) {
    return p.allocate(64, {}, {.category = what});
  }
  [[nodiscard]] std::uint64_t count(tensor_id id, std::uint32_t part = whole_tensor) {
    const result<access_info> found = p.accesses().info(id, part);
    return found ? found->count : UINT64_MAX;
  }
  // Of elements 0 .. n - 1.
  [[nodiscard]] std::vector<std::uint64_t> counts(domain d, std::uint64_t n) {
    std::vector<std::uint64_t> all;
    for (std::uint64_t i = 0; i < n; ++i) {
      const result<access_info> found = p.accesses().info(d, i);
      all.push_back(found ? found->count : UINT64_MAX);
    }
    return all;
  }

  misuse_log log;
  pool p{small_cpu(), log.options({.access_half_life = 10})};
};

using ints = std::vector<std::int32_t>;
using numbers = std::vector<std::uint64_t>;

TEST_F(Accesses, EvictableCategoriesHaveEntriesAndTemporariesHaveNone) {
  const tensor a = p.allocate(64);
  const tensor b = weight(category::kv_cache);
  const tensor c = p.allocate(64, {}, {.tracked = true});
  const tensor d = p.adopt(this, 8);
  const tensor e = p.allocate(0, {}, {.category = category::expert});
  EXPECT_FALSE(p.accesses().info(a.id()).has_value());
  for (const tensor* t : {&b, &c, &d, &e}) {
    EXPECT_EQ(count(t->id()), 0U);
    EXPECT_TRUE(any(p.info(t->id())->flags & tensor_flags::tracked));
  }
  EXPECT_EQ(p.accesses().track(a.id()), errc::ok);
  EXPECT_EQ(p.accesses().track(a.id()), errc::ok);
  EXPECT_EQ(count(a.id()), 0U);
  EXPECT_EQ(p.accesses().info(a.id())->category, category::temporary);
  EXPECT_EQ(p.accesses().info(e.id())->category, category::expert);
}

TEST_F(Accesses, TheTickOfCreationIsTheFirstUse) {
  tensor a = weight();
  const std::array ids{a.id()};
  ASSERT_TRUE(p.accesses().record({.tensors = ids, .tick = 70}).has_value());
  const tensor b = weight();
  EXPECT_EQ(p.accesses().info(b.id())->tick, 70U);
  // Without a tick: the latest. An older tick changes nothing but the count.
  ASSERT_TRUE(p.accesses().record({.tensors = ids}).has_value());
  ASSERT_TRUE(p.accesses().record({.tensors = ids, .tick = 3}).has_value());
  EXPECT_EQ(p.accesses().info(a.id())->tick, 70U);
  EXPECT_EQ(p.accesses().info(a.id())->count, 3U);
}

TEST_F(Accesses, LateIdsOfAFreedTensorNeverReachTheNextOneInItsSlot) {
  tensor a = weight();
  const tensor_id old = a.id();
  a.reset();
  tensor b = weight();
  ASSERT_EQ(old.value() & 0xffffffffU, b.id().value() & 0xffffffffU) << "the slot is used again";
  for (const access_mode mode : {access_mode::occurrence, access_mode::once}) {
    const std::array ids{old, b.id(), old, b.id()};
    const access_report report = *p.accesses().record({.tensors = ids, .mode = mode});
    EXPECT_EQ(report.stale, 2U);
    EXPECT_EQ(report.recorded, mode == access_mode::once ? 1U : 2U);
  }
  EXPECT_EQ(count(b.id()), 3U);
  EXPECT_FALSE(p.accesses().info(old).has_value());
}

TEST_F(Accesses, BindingClosesTheOldEntrysCount) {
  tensor a = weight();
  tensor b = weight();
  const domain d = *p.accesses().make_domain({.size = 4});
  const std::array one{a.id()};
  ASSERT_EQ(p.accesses().bind(d, 2, one), errc::ok);
  ASSERT_TRUE(p.accesses().record({.where = d, .indices = ints{2, 2, 1}}).has_value());
  ASSERT_TRUE(p.accesses().record({.tensors = one}).has_value());  // by its id, where it lives now
  EXPECT_EQ(count(a.id()), 3U);
  EXPECT_EQ(p.accesses().info(a.id())->bound_to, d);
  EXPECT_EQ(p.accesses().info(a.id())->index, 2U);
  const std::array other{b.id()};
  ASSERT_EQ(p.accesses().bind(d, 2, other), errc::ok);
  ASSERT_TRUE(p.accesses().record({.where = d, .indices = ints{2}}).has_value());
  EXPECT_EQ(count(a.id()), 3U);
  EXPECT_EQ(count(b.id()), 1U);
  EXPECT_FALSE(p.accesses().info(a.id())->bound_to);
  // To another element: it leaves the first.
  ASSERT_EQ(p.accesses().bind(d, 0, other), errc::ok);
  EXPECT_EQ(counts(d, 3), (numbers{1, UINT64_MAX, UINT64_MAX}));
  b.reset();
  EXPECT_EQ(counts(d, 1), (numbers{UINT64_MAX}));
  EXPECT_EQ(p.accesses().record({.where = d, .indices = ints{0}})->stale, 1U);
}

TEST_F(Accesses, PartsStandForTheirTensorInQueries) {
  tensor a = weight(category::expert);
  ASSERT_EQ(p.accesses().track(a.id(), 3), errc::ok);
  EXPECT_EQ(p.accesses().track(a.id(), 3), errc::ok);
  EXPECT_EQ(p.accesses().track(a.id(), 4), errc::invalid_argument);
  const domain d = *p.accesses().make_domain({.size = 10});
  ASSERT_EQ(p.accesses().bind_parts(d, 5, a.id()), errc::ok);
  ASSERT_TRUE(p.accesses().record({.where = d, .indices = ints{6, 7, 7}, .tick = 9}).has_value());
  EXPECT_EQ(count(a.id(), 0), 0U);
  EXPECT_EQ(count(a.id(), 2), 2U);
  EXPECT_FALSE(p.accesses().info(a.id(), 3).has_value());
  std::array<access_info, 4> best;
  ASSERT_EQ(p.accesses().hottest(best, access_order::count), 3U);
  EXPECT_EQ(best[0].part, 2U);
  EXPECT_EQ(best[0].category, category::expert);
  // Dropping the domain keeps what was counted.
  ASSERT_EQ(p.accesses().drop_domain(d), errc::ok);
  EXPECT_EQ(p.accesses().drop_domain(d), errc::not_found);
  EXPECT_EQ(count(a.id(), 2), 2U);
  EXPECT_EQ(p.accesses().record({.where = d, .indices = ints{6}}).error().code, errc::not_found);
  EXPECT_EQ(p.set_category(a.id(), category::other), errc::ok);
  EXPECT_EQ(p.accesses().info(a.id(), 1)->category, category::other);
}

TEST_F(Accesses, RowsOfALayoutAreMaskedAndLayersHaveBases) {
  const domain d = *p.accesses().make_domain({.size = 12, .standalone = true});
  // [2 layers, 2 tokens, 2], rows of 3.
  const ints ids{0, 1, -9, 3, -1, -9, 2, 4, -9, 1, 1, -9};
  access_layout layout{.layers = 2, .tokens = 2, .k = 2, .token_stride = 3, .extent = 4};
  access_report report = *p.accesses().record({.where = d, .indices = ids, .layout = layout});
  EXPECT_EQ(report.recorded, 6U);
  EXPECT_EQ(report.padding, 1U);
  EXPECT_EQ(report.out_of_range, 1U);
  EXPECT_EQ(counts(d, 12), (numbers{1, 1, 0, 1, 0, 2, 1, 0, 0, 0, 0, 0}));
  const numbers bases{8, 0};
  const std::vector<std::uint8_t> mask{0, 1};
  layout.bases = bases;
  report = *p.accesses().record({.where = d, .indices = ids, .layout = layout, .mask = mask});
  EXPECT_EQ(report.masked, 4U);
  EXPECT_EQ(counts(d, 12), (numbers{1, 3, 0, 1, 0, 2, 1, 0, 0, 0, 0, 1}));
  EXPECT_EQ(p.accesses().totals().recorded, 9U);
  EXPECT_EQ(p.accesses().totals().batches, 2U);
}

// Found by fuzz_accesses: bases without tokens led beyond the domain.
TEST_F(Accesses, ALayoutWithoutTokensIsNoneWhateverElseItSays) {
  const domain d = *p.accesses().make_domain({.size = 4, .standalone = true});
  const numbers bases{300, 400};
  const access_report report = *p.accesses().record(
      {.where = d,
       .indices = ints{0, 3, 4},
       .layout = {.layers = 2, .k = 0, .layer_stride = 75, .extent = 246, .bases = bases}});
  EXPECT_EQ(report.recorded, 2U);
  EXPECT_EQ(report.out_of_range, 1U);
  EXPECT_EQ(counts(d, 4), (numbers{1, 0, 0, 1}));
}

TEST_F(Accesses, WhatDoesNotFitTogetherIsRefusedAndChangesNothing) {
  tensor a = weight();
  const domain d = *p.accesses().make_domain({.size = 4, .standalone = true});
  const domain e = *p.accesses().make_domain({.size = 4});
  const std::array ids{a.id()};
  const std::vector<std::uint32_t> weights{1, 2};
  const std::vector<std::uint8_t> mask{1, 1, 1};
  const numbers bases{5};
  const ints two{0, 1};
  const auto refused = [&](const access_batch& batch, errc why = errc::invalid_argument) {
    const result<access_report> done = p.accesses().record(batch);
    return !done.has_value() && done.error().code == why;
  };
  EXPECT_TRUE(refused({.tensors = ids, .where = d, .indices = two}));
  EXPECT_TRUE(refused({.where = d, .indices = two, .weights = weights}));
  EXPECT_TRUE(refused({.where = d, .indices = two, .mode = access_mode::weighted}));
  EXPECT_TRUE(refused({.where = d, .indices = two, .mode = static_cast<access_mode>(3)}));
  EXPECT_TRUE(refused({.where = d, .indices = two, .mask = mask}));
  EXPECT_TRUE(refused({.indices = two}, errc::not_found));
  EXPECT_TRUE(refused({.where = domain::from_value(77), .indices = two}, errc::not_found));
  EXPECT_TRUE(refused({.tensors = ids, .layout = {.tokens = 1}}));
  for (const access_layout& layout : {access_layout{.tokens = 3},
                                      {.tokens = 2, .k = 0},
                                      {.layers = 0, .tokens = 2},
                                      {.tokens = 1, .bases = bases},
                                      {.layers = 2, .tokens = 1, .bases = bases},
                                      {.layers = 2, .tokens = 1, .extent = 5},
                                      {.layers = SIZE_MAX / 2, .tokens = 5},
                                      {.tokens = 2, .token_stride = SIZE_MAX / 2 + 2},
                                      {.layers = 2, .tokens = 1, .layer_stride = SIZE_MAX}}) {
    EXPECT_TRUE(refused({.where = d, .indices = two, .layout = layout}));
  }
  EXPECT_EQ(p.accesses().bind(d, 0, ids), errc::invalid_argument);
  EXPECT_EQ(p.accesses().bind(e, 4, ids), errc::invalid_argument);
  EXPECT_EQ(p.accesses().bind(e, SIZE_MAX, ids), errc::invalid_argument);
  EXPECT_EQ(p.accesses().bind({}, 0, ids), errc::not_found);
  EXPECT_EQ(p.accesses().bind_parts(e, 0, a.id()), errc::invalid_argument);
  const tensor temporary = p.allocate(64);
  const std::array none{a.id(), temporary.id()};
  EXPECT_EQ(p.accesses().bind(e, 0, none), errc::stale_id);
  EXPECT_EQ(counts(e, 1), (numbers{UINT64_MAX}));
  EXPECT_EQ(p.accesses().make_domain({.size = 0}).error().code, errc::invalid_argument);
  EXPECT_EQ(p.accesses().make_domain({.size = UINT32_MAX}).error().code, errc::invalid_argument);
  EXPECT_EQ(p.accesses()
                .make_domain({.size = 1, .standalone = true, .where = device::cuda(3)})
                .error()
                .code,
            errc::unknown_device);
  EXPECT_EQ(p.accesses().totals().recorded, 0U);
  EXPECT_EQ(p.accesses().totals().batches, 0U);
  // Nothing is a batch.
  EXPECT_EQ(*p.accesses().record({}), access_report{});
}

TEST_F(Accesses, StaleTensorsAreReportedByTrack) {
  tensor a = weight();
  const tensor_id id = a.id();
  a.reset();
  EXPECT_EQ(p.accesses().track(id, 2), errc::stale_id);
  EXPECT_TRUE(log.one(misuse_kind::stale_use, id));
}

TEST_F(Accesses, QueriesRankWithinMasksAndBreakTiesByName) {
  std::vector<tensor> all;
  for (const category what : {category::weight, category::expert, category::kv_cache}) {
    for (int i = 0; i < 4; ++i) {
      all.push_back(weight(what));
    }
  }
  std::vector<tensor_id> ids;
  for (std::size_t i = 0; i < all.size(); ++i) {
    ids.push_back(all[i].id());
  }
  ASSERT_TRUE(
      p.accesses().record({.tensors = std::span(ids).subspan(0, 6), .tick = 5}).has_value());
  ASSERT_TRUE(
      p.accesses().record({.tensors = std::span(ids).subspan(3, 6), .tick = 8}).has_value());
  // Never used: the coldest, in the order of their ids.
  std::vector<tensor_id> unused(ids.begin() + 9, ids.end());
  std::sort(unused.begin(), unused.end());
  std::array<access_info, 20> out;
  ASSERT_EQ(p.accesses().coldest(std::span(out).first(3)), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(out[i].id, unused[i]);
    EXPECT_EQ(out[i].tick, 0U);
  }
  ASSERT_EQ(p.accesses().hottest(out, access_order::count, {.categories = {category::expert}}), 4U);
  EXPECT_EQ(out[0].count, 2U);
  EXPECT_EQ(out[1].count, 2U);
  EXPECT_LT(out[0].id, out[1].id);
  EXPECT_EQ(out[3].count, 1U);
  EXPECT_EQ(p.accesses().coldest(out, access_order::tick, {.lifecycles = {lifecycle::inactive}}),
            0U);
  ASSERT_EQ(p.set_lifecycle(ids[4], lifecycle::inactive), errc::ok);
  ASSERT_EQ(p.accesses().coldest(out, access_order::tick, {.lifecycles = {lifecycle::inactive}}),
            1U);
  EXPECT_EQ(out[0].id, ids[4]);
  const std::array elsewhere{device::cuda(0)};
  const std::array here{device::cpu()};
  EXPECT_EQ(p.accesses().coldest(out, access_order::tick, {.devices = elsewhere}), 0U);
  EXPECT_EQ(p.accesses().coldest(out, access_order::tick, {.devices = here}), 12U);
  const access_selection old = p.accesses().older_than(8, std::span(out).first(2));
  EXPECT_EQ(old.found, 6U);
  EXPECT_EQ(old.written, 2U);
  EXPECT_EQ(p.accesses().by_category()[static_cast<std::size_t>(category::expert)].count, 6U);
  EXPECT_EQ(p.accesses().by_category()[static_cast<std::size_t>(category::weight)].entries, 4U);
  const access_ages ages = p.accesses().age_histogram();
  EXPECT_EQ(ages.now, 8U);
  EXPECT_EQ(ages.entries[0], 6U);
  EXPECT_EQ(ages.entries[2], 3U);  // age 3
  EXPECT_EQ(ages.entries[4], 3U);  // age 8
  EXPECT_EQ(p.accesses().coldest({}), 0U);
}

TEST_F(Accesses, ScoresHalveEveryHalfLife) {
  tensor a = weight();
  tensor b = weight();
  const std::array first{a.id(), a.id(), a.id()};
  const std::array second{b.id()};
  ASSERT_TRUE(p.accesses().record({.tensors = first, .tick = 100}).has_value());
  EXPECT_NEAR(p.accesses().info(a.id())->score, 3.0, 1e-3);
  ASSERT_TRUE(p.accesses().record({.tensors = second, .tick = 120}).has_value());
  EXPECT_NEAR(p.accesses().info(a.id())->score, 0.75, 1e-3);
  EXPECT_NEAR(p.accesses().info(b.id())->score, 1.0, 1e-3);
  std::array<access_info, 1> best;
  ASSERT_EQ(p.accesses().hottest(best, access_order::score), 1U);
  EXPECT_EQ(best[0].id, b.id());
  // Far ahead: scores are shifted, the order stays, the counts too.
  const std::array third{a.id()};
  ASSERT_TRUE(p.accesses().record({.tensors = third, .tick = 120 + 10 * 40}).has_value());
  EXPECT_GE(p.accesses().totals().rebases, 1U);
  EXPECT_EQ(count(a.id()), 4U);
  EXPECT_NEAR(p.accesses().info(a.id())->score, 1.0, 1e-3);
  ASSERT_EQ(p.accesses().hottest(best, access_order::score), 1U);
  EXPECT_EQ(best[0].id, a.id());
}

TEST_F(Accesses, WeightsAddUpInAnyMode) {
  const domain d = *p.accesses().make_domain({.size = 3, .standalone = true});
  const std::vector<std::uint32_t> weights{UINT32_MAX, 0, 5, UINT32_MAX};
  const access_report report = *p.accesses().record(
      {.where = d, .indices = ints{0, 1, 2, 0}, .mode = access_mode::weighted, .weights = weights});
  EXPECT_EQ(report.recorded, 3U);
  EXPECT_EQ(report.masked, 1U);
  EXPECT_EQ(counts(d, 3), (numbers{2 * std::uint64_t{UINT32_MAX}, 0, 5}));
}

TEST_F(Accesses, KeysLeadToTensors) {
  tensor a = p.allocate(64, {}, {.category = category::kv_cache, .key = 41});
  tensor b = p.allocate(64, {}, {.key = 42});  // no entry
  const numbers keys{41, 42, 43, 0, 41};
  access_report report = *p.accesses().record({.keys = keys});
  EXPECT_EQ(report.recorded, 2U);
  EXPECT_EQ(report.stale, 2U);
  EXPECT_EQ(report.padding, 1U);
  a.reset();
  report = *p.accesses().record({.keys = keys});
  EXPECT_EQ(report.recorded, 0U);
  EXPECT_EQ(report.stale, 4U);
}

TEST_F(Accesses, APredictorSeesEveryBatch) {
  struct counting final : access_predictor {
    std::size_t ids = 0;
    void observe(const access_batch& batch) noexcept override { ids += batch.size(); }
  } predictor;
  const domain d = *p.accesses().make_domain({.size = 3, .standalone = true});
  p.accesses().set_predictor(&predictor);
  ASSERT_TRUE(p.accesses().record({.where = d, .indices = ints{0, 1, -1}}).has_value());
  p.accesses().set_predictor(nullptr);
  ASSERT_TRUE(p.accesses().record({.where = d, .indices = ints{0}}).has_value());
  EXPECT_EQ(predictor.ids, 3U);
}

TEST_F(Accesses, PrefetchIgnoresWhatIsNotThere) {
  tensor a = weight();
  const tensor_id old = a.id();
  a.reset();
  const tensor b = p.allocate(1000);
  const tensor c = p.allocate(0);
  const tensor tracked = weight();
  std::memset(b.data(), 7, b.bytes());
  const statistics before = p.control().statistics();
  const std::array ids{old,         b.id(), tensor_id{}, c.id(), tensor_id::from_value(12345),
                       tracked.id()};
  p.accesses().prefetch(ids, 4096);
  EXPECT_TRUE(log.take().empty());  // to ask for an old one is no misuse
  EXPECT_EQ(p.control().verify(), nullptr);
  EXPECT_EQ(p.control().statistics().total.live, before.total.live);
  EXPECT_EQ(p.control().statistics().total.allocations, before.total.allocations);
  EXPECT_EQ(p.control().statistics().total.frees, before.total.frees);
  EXPECT_EQ(count(tracked.id()), 0U);  // and to prefetch is no access
  const auto* const bytes = static_cast<const unsigned char*>(b.data());
  EXPECT_EQ(std::count(bytes, bytes + b.bytes(), 7), 1000);
}

TEST_F(Accesses, ForceEndsTheEntriesToo) {
  tensor a = weight();
  ASSERT_EQ(p.accesses().track(a.id(), 5), errc::ok);
  tensor b = weight();
  const domain d = *p.accesses().make_domain({.size = 8});
  const std::array ids{b.id()};
  ASSERT_EQ(p.accesses().bind_parts(d, 0, a.id()), errc::ok);
  ASSERT_EQ(p.accesses().bind(d, 7, ids), errc::ok);
  EXPECT_EQ(p.close(close_mode::force), 2U);
  EXPECT_EQ(counts(d, 8), numbers(8, UINT64_MAX));
  EXPECT_TRUE(p.accesses().ranked(access_order::tick).empty());
  EXPECT_EQ(p.accesses().record({.tensors = ids})->stale, 1U);
  a.reset();
  b.reset();
  EXPECT_EQ(log.take().size(), 2U);  // after_close, of two handles
}

}  // namespace
}  // namespace tidepool::test
