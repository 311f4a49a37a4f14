// SPDX-License-Identifier: Apache-2.0
//
// Every figure against what was done; text and JSON; observers in exact order.
#include "support.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <thread>

namespace tidepool::test {
namespace {

TEST(PoolStatistics, CountEveryOperationByTheSizeOfTheBlock) {
  pool p(small_cpu());
  std::array<std::uint64_t, size_category_count> made{};
  std::array<std::uint64_t, size_category_count> freed{};
  std::array<std::uint64_t, size_category_count> requested{};
  std::mt19937 random(5);
  std::vector<tensor> held;
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2 == 0 || held.empty()) {
      constexpr std::array<std::size_t, 5> most{4 * kib, 64 * kib, mib, 4 * mib, 18 * mib};
      const std::size_t pick = i % 512 == 0 ? 4 : i % 64 == 0 ? 3 : random() % 3;
      const std::size_t bytes = pick == 4 ? 17 * mib : 1 + random() % most[pick];
      allocation_options options;
      if (random() % 4 == 0) {
        options.category = category::weight;
      }
      held.push_back(p.allocate(bytes, {}, options));
      const auto c = static_cast<unsigned>(size_category_of(bytes));
      ++made[c];
      requested[c] += bytes;
      if (held.size() > 60) {
        held.resize(30);  // counted below from what is live
      }
    } else {
      std::swap(held[random() % held.size()], held.back());
      held.pop_back();
    }
  }
  std::array<std::uint64_t, size_category_count> live{};
  requested = {};
  for (const tensor& t : held) {
    ++live[static_cast<unsigned>(size_category_of(t.bytes()))];
    requested[static_cast<unsigned>(size_category_of(t.bytes()))] += t.bytes();
  }
  const statistics s = p.control().statistics();
  std::uint64_t sum = 0;
  for (unsigned c = 0; c < size_category_count; ++c) {
    const operation_counts& counts = s.devices[0].by_size[c];
    freed[c] = made[c] - live[c];
    EXPECT_EQ(counts.allocations, made[c]) << c;
    EXPECT_EQ(counts.frees, freed[c]) << c;
    EXPECT_EQ(counts.live, live[c]) << c;
    EXPECT_EQ(counts.requested_bytes, requested[c]) << c;
    EXPECT_EQ(counts.front_hits + counts.ready_hits + counts.refills, counts.allocations);
    sum += counts.allocations;
  }
  EXPECT_EQ(s.total.allocations, sum);
  EXPECT_EQ(s.total.live, held.size());
  EXPECT_GT(s.total.hit_rate(), 0.5);
  EXPECT_LE(s.total.hit_rate(), 1.0);
  EXPECT_GE(s.devices[0].live_bytes, s.total.requested_bytes);
  EXPECT_GE(s.devices[0].reserved_bytes, s.devices[0].live_bytes + s.devices[0].cached_bytes);
  EXPECT_GE(s.devices[0].peak_live_bytes, s.total.requested_bytes);
  EXPECT_GE(s.devices[0].peak_reserved_bytes, s.devices[0].reserved_bytes);
}

TEST(PoolStatistics, AreExactWhateverThreadFrees) {
  pool p(small_cpu());
  std::vector<tensor> held;
  for (std::size_t i = 0; i < 3000; ++i) {
    held.push_back(p.allocate(i * 7 + 1));
  }
  std::thread([&] { held.resize(1000); }).join();  // that thread's counts outlive it
  const statistics s = p.control().statistics();
  EXPECT_EQ(s.total.allocations, 3000U);
  EXPECT_EQ(s.total.frees, 2000U);
  EXPECT_EQ(s.total.live, 1000U);
  std::uint64_t requested = 0;
  for (const tensor& t : held) {
    requested += t.bytes();
  }
  EXPECT_EQ(s.total.requested_bytes, requested);
}

TEST(PoolStatistics, SinceIsTheDifferenceOfCountsAndKeepsLevels) {
  misuse_log log;
  pool p(small_cpu(), log.options());
  const tensor kept = p.allocate(100);
  for (int i = 0; i < 50; ++i) {
    p.allocate(100).reset();
  }
  (void)p.try_allocate(SIZE_MAX);
  const statistics warm = p.control().statistics();
  for (int i = 0; i < 70; ++i) {
    p.allocate(100).reset();
  }
  (void)p.deallocate(tensor_id::from_value(1));
  const statistics delta = p.control().statistics().since(warm);
  EXPECT_EQ(delta.total.allocations, 70U);
  EXPECT_EQ(delta.total.frees, 70U);
  EXPECT_EQ(delta.total.refills, 0U);
  EXPECT_DOUBLE_EQ(delta.total.hit_rate(), 1.0);
  EXPECT_EQ(delta.total.live, 1U);
  EXPECT_EQ(delta.total.requested_bytes, 100U);
  EXPECT_EQ(delta.devices[0].by_size[0].allocations, 70U);
  EXPECT_EQ(delta.misuses, 1U);
  EXPECT_EQ(delta.failures, 0U);
  EXPECT_DOUBLE_EQ(operation_counts{}.hit_rate(), 0.0);
}

TEST(PoolStatistics, LatencySamplesAppearAndDisturbNothing) {
  pool p(small_cpu());
  constexpr std::uint64_t pairs = 200000;
  for (std::uint64_t i = 0; i < pairs; ++i) {
    p.allocate(100).reset();
  }
  const statistics s = p.control().statistics();
  EXPECT_GT(s.allocate.samples, 2U);
  EXPECT_GT(s.free.samples, 2U);
  for (const latency& mean : {s.allocate, s.free}) {
    EXPECT_GT(mean.mean_ns, 0.0);
    EXPECT_LT(mean.mean_ns, 1e9);
  }
  EXPECT_EQ(s.total.allocations, pairs);
  EXPECT_EQ(s.total.frees, pairs);
  EXPECT_EQ(s.total.refills, 1U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolStatistics, SayHowManyTensorsHaveNoBlock) {
  pool p(small_cpu());
  int foreign = 0;
  tensor whole = p.allocate(100);
  const tensor empty = p.allocate(0);
  const tensor adopted = p.adopt(&foreign, sizeof foreign);
  tensor part = std::move(*p.slice(whole, 0, 10));
  statistics s = p.control().statistics();
  EXPECT_EQ(s.total.live, 4U);
  EXPECT_EQ(s.live_without_block, 3U);
  EXPECT_EQ(s.devices[0].total.live, 1U);
  EXPECT_EQ(s.total.allocations, 1U);
  EXPECT_EQ(s.total.requested_bytes, 100U);
  whole.reset();
  part.reset();
  s = p.control().statistics();
  EXPECT_EQ(s.total.live, 2U);
  EXPECT_EQ(s.live_without_block, 2U);
  EXPECT_EQ(s.total.frees, 1U);
  EXPECT_NE(to_text(s).find("live without a block 2"), std::string::npos);
}

TEST(PoolStatistics, JsonHasEveryKeyAndTheNumbers) {
  misuse_log log;
  pool p(small_cpu(), log.options({.limit_bytes = 64 * mib}));
  const tensor a = p.allocate(5000);
  (void)p.deallocate(tensor_id::from_value(1));
  const statistics s = p.control().statistics();
  const auto json = nlohmann::json::parse(to_json(s));
  EXPECT_EQ(json.at("format_version"), statistics::format_version);
  EXPECT_EQ(json.at("total").at("live"), 1);
  EXPECT_EQ(json.at("misuses"), 1);
  EXPECT_EQ(json.at("misuses_by_kind").size(), misuse_kind_count);
  EXPECT_EQ(json.at("misuses_by_kind").at("stale_free").get<int>() +
                json.at("misuses_by_kind").at("foreign_id").get<int>(),
            1);
  for (const char* const key : {"allocate", "free"}) {
    EXPECT_TRUE(json.at(key).contains("samples"));
    EXPECT_TRUE(json.at(key).contains("mean_ns"));
  }
  for (const char* const key :
       {"failures", "recalls", "threads", "retired_slots", "live_without_block"}) {
    EXPECT_TRUE(json.at(key).is_number_unsigned()) << key;
  }
  EXPECT_EQ(json.at("has_fences"), s.has_fences);
  const auto& d = json.at("devices").at(0);
  EXPECT_EQ(d.at("device"), "cpu");
  EXPECT_EQ(d.at("limit_bytes"), 64 * mib);
  for (const char* const key :
       {"reserved_bytes", "peak_reserved_bytes", "live_bytes", "cached_bytes", "peak_live_bytes",
        "address_space_bytes", "system_calls"}) {
    EXPECT_TRUE(d.at(key).is_number_unsigned()) << key;
  }
  for (const char* const key : {"tiny", "small", "medium", "large", "huge"}) {
    for (const char* const count : {"allocations", "frees", "front_hits", "ready_hits", "refills",
                                    "requested_bytes", "live", "hit_rate"}) {
      EXPECT_TRUE(d.at("by_size").at(key).contains(count)) << key << count;
    }
  }
  EXPECT_EQ(d.at("by_size").at("small").at("requested_bytes"), 5000);
  // The largest numbers stay numbers.
  statistics extreme = s;
  extreme.total.allocations = UINT64_MAX;
  extreme.devices[0].limit_bytes = SIZE_MAX;
  EXPECT_EQ(nlohmann::json::parse(to_json(extreme)).at("total").at("allocations"), UINT64_MAX);
  EXPECT_TRUE(nlohmann::json::accept(to_json(statistics{})));
}

TEST(PoolStatistics, TextNamesDevicesAndRows) {
  pool p(small_cpu());
  const std::string text = to_text(p.control().statistics());
  for (const char* const part :
       {"cpu: reserved", "<= 4 KiB", "> 16 MiB", "limit none", "misuses 0"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

class recorder final : public allocation_observer {
 public:
  void on_allocate(const tensor_info& made) noexcept override { add("+", made); }
  void on_free(const tensor_info& ending) noexcept override { add("-", ending); }
  void on_failure(const status& why) noexcept override {
    const std::lock_guard lock(mutex_);
    events.push_back("!" + std::to_string(why.requested));
    calls.fetch_add(1);
  }
  std::vector<std::string> events;
  std::vector<tensor_id> ids;
  std::atomic<int> calls{0};

 private:
  void add(const char* what, const tensor_info& info) {
    const std::lock_guard lock(mutex_);
    events.push_back(what + std::to_string(info.bytes));
    ids.push_back(info.id);
    calls.fetch_add(1);
  }
  std::mutex mutex_;
};

TEST(PoolObserver, SeesEveryTensorOnceInOrder) {
  pool p(small_cpu());
  tensor before = p.allocate(1);
  p.allocate(100).reset();  // warm: the observer must see warm tensors too
  recorder seen;
  p.control().set_observer(&seen);
  tensor a = p.allocate(100);
  tensor b = p.allocate(0);
  tensor w = p.allocate(3 * mib, {}, {.category = category::weight, .key = 4});
  const tensor_id id = a.id();
  tensor shared = std::move(*p.share(a));
  a.reset();  // not the last reference
  tensor part = std::move(*p.slice(shared, 10, 20));
  shared.reset();  // the part keeps it
  (void)p.try_allocate(SIZE_MAX);
  part.reset();  // ends both
  int byte = 0;
  p.adopt(&byte, 4).reset();
  b.reset();
  before.reset();
  (void)p.deallocate_n(std::array{w.release(), p.allocate_raw(7)->id});
  p.control().set_observer(nullptr);
  p.allocate(100).reset();
  const std::vector<std::string> expected{
      "+100", "+0",   "+3145728", "+20", "!" + std::to_string(SIZE_MAX),
      "-20",  "-100", "+4",       "-4",  "-0",
      "-1",   "+7",   "-3145728", "-7"};
  EXPECT_EQ(seen.events, expected);
  EXPECT_EQ(seen.ids[0], id);
  EXPECT_EQ(p.control().statistics().total.live, 0U);
}

TEST(PoolObserver, MisuseIsNotAnEvent) {
  misuse_log log;
  pool p(small_cpu(), log.options());
  const tensor_id id = p.allocate(64).release();
  EXPECT_EQ(p.deallocate(id), errc::ok);
  recorder seen;
  p.control().set_observer(&seen);
  EXPECT_EQ(p.deallocate(id), errc::stale_id);
  EXPECT_EQ(p.retain(id), errc::stale_id);
  p.control().set_observer(nullptr);
  EXPECT_TRUE(seen.events.empty());
}

TEST(PoolObserver, MayComeAndGoWhileThreadsRun) {
  pool p(small_cpu());
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!stop.load()) {
        const tensor a = p.allocate(64);
        const tensor b = p.allocate(5000);
      }
    });
  }
  int total = 0;
  for (int i = 0; i < 50 || total == 0; ++i) {
    auto seen = std::make_unique<recorder>();
    p.control().set_observer(seen.get());
    std::this_thread::yield();
    p.control().set_observer(nullptr);
    total += seen->calls.load();
    // No call after set_observer returned: the recorder is gone.
  }
  stop = true;
  for (std::thread& t : threads) {
    t.join();
  }
  EXPECT_EQ(p.control().statistics().total.live, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolStatistics, SayWhenEveryOperationFences) {
  const pool fenced(small_cpu(), {.membarrier = false});
  EXPECT_TRUE(fenced.control().statistics().has_fences);
  EXPECT_NE(to_text(fenced.control().statistics()).find("fences"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(to_json(fenced.control().statistics())).at("has_fences"), true);
  const statistics plain;
  EXPECT_FALSE(plain.has_fences);
  EXPECT_EQ(to_text(plain).find("fences"), std::string::npos);
}

}  // namespace
}  // namespace tidepool::test
