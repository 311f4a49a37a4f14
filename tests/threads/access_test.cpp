// SPDX-License-Identifier: Apache-2.0
//
// Batches of many threads at once: nothing is lost, nothing reaches another entry than its own, and
// whoever asks sees what was recorded before.
#include "support.hpp"
#include <tidepool/access_tracker.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <random>
#include <vector>

namespace tidepool::test {
namespace {

constexpr int most_threads = 4;

using ints = std::vector<std::int32_t>;

std::uint64_t sum_of(const pool& p, domain d, std::uint64_t n) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    sum += p.accesses().info(d, i)->count;
  }
  return sum;
}

TEST(AccessThreads, SumsOfCountsEqualTheIdsSentInEveryKindOfBatch) {
  pool p{small_cpu()};
  const domain d = *p.accesses().make_domain({.size = 300, .standalone = true});
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> answered{0};
  in_threads(most_threads, [&](int t) {
    std::mt19937 random(static_cast<unsigned>(t));
    // Small ones meet the log, denser ones its counts, large ones the bins.
    for (int i = 0; i < 400 * effort(); ++i) {
      const std::size_t n = i % 40 == 39 ? 3000
                            : i % 7 == 6 ? 1500
                            : i % 3 == 1 ? 150 + random() % 500
                                         : 1 + random() % 64;
      ints ids(n);
      for (auto& id : ids) {
        id = static_cast<std::int32_t>(random() % 300);
      }
      std::vector<std::uint32_t> weights;
      std::uint64_t adds = n;
      if (i % 5 == 0) {
        weights.assign(n, 3);
        adds = 3 * n;
      }
      const result<access_report> report = p.accesses().record(
          {.where = d,
           .indices = ids,
           .mode = weights.empty() ? access_mode::occurrence : access_mode::weighted,
           .tick = static_cast<std::uint64_t>(i / 16),
           .weights = weights});
      ASSERT_TRUE(report.has_value());
      answered += report->recorded + report->deferred;
      sent += adds;
      EXPECT_EQ(report->recorded + report->deferred, n);
    }
  });
  EXPECT_EQ(sum_of(p, d, 300), sent.load());
  const access_totals totals = p.accesses().totals();
  EXPECT_EQ(totals.recorded, answered.load());
  EXPECT_EQ(totals.batches,
            static_cast<std::uint64_t>(most_threads) * 400U * static_cast<std::uint64_t>(effort()));
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(AccessThreads, AQuerySeesWhatItsThreadRecordedBefore) {
  pool p{small_cpu()};
  const domain d = *p.accesses().make_domain({.size = most_threads + 1U, .standalone = true});
  in_threads(most_threads, [&](int t) {
    const ints own{t, static_cast<std::int32_t>(most_threads)};
    for (std::uint64_t i = 1; i <= 500U * static_cast<unsigned>(effort()); ++i) {
      ASSERT_TRUE(p.accesses().record({.where = d, .indices = own, .tick = i}).has_value());
      if (i % 3 == 0) {
        const access_info seen = *p.accesses().info(d, static_cast<std::uint64_t>(t));
        ASSERT_EQ(seen.count, i);
        ASSERT_EQ(seen.tick, i);
      }
    }
  });
  EXPECT_EQ(p.accesses().info(d, most_threads)->count,
            500U * static_cast<unsigned>(effort()) * most_threads);
}

TEST(AccessThreads, OncePerBatchIsOncePerBatchOfEachThread) {
  pool p{small_cpu()};
  const domain d = *p.accesses().make_domain({.size = 5000, .standalone = true});
  const int rounds = 50 * effort();
  in_threads(most_threads, [&](int t) {
    ints ids;
    for (int i = 0; i < (t % 2 == 0 ? 400 : 4000); ++i) {
      ids.push_back(i % 200);
    }
    for (int i = 0; i < rounds; ++i) {
      const access_report report =
          *p.accesses().record({.where = d, .indices = ids, .mode = access_mode::once});
      ASSERT_EQ(report.recorded + report.deferred, 200U);
      ASSERT_EQ(report.duplicates, ids.size() - 200);
    }
  });
  for (std::uint64_t i = 0; i < 200; ++i) {
    ASSERT_EQ(p.accesses().info(d, i)->count, static_cast<std::uint64_t>(rounds * most_threads));
  }
}

// One thread makes and ends tensors and binds them again and again, others record by index, by id
// and by key, one asks. No entry outlives its tensor, and all structures hold.
TEST(AccessThreads, TensorsEndAndElementsAreBoundAgainWhileBatchesRun) {
  pool p{small_cpu()};
  constexpr std::size_t elements = 16;
  const domain d = *p.accesses().make_domain({.size = elements});
  std::array<std::atomic<std::uint64_t>, elements> ids{};
  std::atomic<bool> stop{false};
  in_threads(most_threads, [&](int t) {
    std::mt19937 random(static_cast<unsigned>(t));
    if (t == 0) {
      std::array<tensor, elements> held;
      for (int i = 0; i < 600 * effort(); ++i) {
        const std::size_t at = random() % elements;
        tensor made = p.allocate(
            64, {}, {.category = category::kv_cache, .key = 1000U + static_cast<std::uint64_t>(i)});
        if (i % 4 == 0) {
          ASSERT_EQ(p.accesses().track(made.id(), 3), errc::ok);
          ASSERT_EQ(p.accesses().bind_parts(d, at, made.id(), {.first = 1, .count = 1}), errc::ok);
        } else {
          const std::array one{made.id()};
          ASSERT_EQ(p.accesses().bind(d, at, one), errc::ok);
        }
        ASSERT_EQ(p.set_category(made.id(), category::expert), errc::ok);
        ids[at].store(made.id().value());
        held[at] = std::move(made);  // the old one ends, its id stays in use by the others
      }
      stop.store(true);
      return;
    }
    std::array<access_info, 8> best;
    for (int i = 0; !stop.load(); ++i) {
      if (t == 3) {
        (void)p.accesses().coldest(best);
        (void)p.accesses().age_histogram();
        (void)p.accesses().info(d, random() % elements);
        std::this_thread::yield();
        continue;
      }
      if (i % 2 == 0) {
        ints some(1 + random() % 40);
        for (auto& id : some) {
          id = static_cast<std::int32_t>(random() % elements);
        }
        ASSERT_TRUE(p.accesses().record({.where = d, .indices = some}).has_value());
      } else {
        std::array<tensor_id, elements> named;
        std::array<std::uint64_t, elements> keys;
        for (std::size_t k = 0; k < elements; ++k) {
          named[k] = tensor_id::from_value(ids[k].load());
          keys[k] = 1000 + random() % 600;
        }
        ASSERT_TRUE(p.accesses().record({.tensors = named}).has_value());
        ASSERT_TRUE(p.accesses().record({.keys = keys, .mode = access_mode::once}).has_value());
      }
    }
  });
  EXPECT_EQ(p.control().verify(), nullptr);
  EXPECT_TRUE(p.accesses().ranked(access_order::tick).empty()) << "all tensors ended";
}

TEST(AccessThreads, LateIdsOfFreedTensorsNeverReachLivingOnes) {
  pool p{small_cpu()};
  std::atomic<std::uint64_t> dead{0};
  std::atomic<bool> stop{false};
  in_threads(3, [&](int t) {
    if (t == 0) {
      for (int i = 0; i < 300 * effort(); ++i) {
        tensor old = p.allocate(64, {}, {.category = category::weight});
        dead.store(old.id().value());
        old.reset();
        // In its slot, most times. Nobody sends its id.
        const tensor young = p.allocate(64, {}, {.category = category::weight});
        std::this_thread::yield();
        ASSERT_EQ(p.accesses().info(young.id())->count, 0U);
      }
      stop.store(true);
      return;
    }
    while (!stop.load()) {
      const std::array ids{tensor_id::from_value(dead.load()), tensor_id::from_value(dead.load())};
      ASSERT_TRUE(p.accesses().record({.tensors = ids}).has_value());
    }
  });
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(AccessThreads, DomainsAreMadeAndDroppedWhileOthersRecord) {
  pool p{small_cpu()};
  std::atomic<std::uint64_t> current{0};
  std::atomic<bool> stop{false};
  in_threads(3, [&](int t) {
    if (t == 0) {
      for (int i = 0; i < 100; ++i) {
        const domain d = *p.accesses().make_domain({.size = 100, .standalone = true});
        current.store(d.value());
        std::this_thread::yield();
        ASSERT_EQ(p.accesses().drop_domain(d), errc::ok);
      }
      stop.store(true);
      return;
    }
    const ints ids{1, 2, 3, 99, 100};
    while (!stop.load()) {
      const result<access_report> report =
          p.accesses().record({.where = domain::from_value(current.load()), .indices = ids});
      ASSERT_TRUE(report.has_value() || report.error().code == errc::not_found);
    }
  });
  EXPECT_EQ(p.control().verify(), nullptr);
}

}  // namespace
}  // namespace tidepool::test
