// SPDX-License-Identifier: Apache-2.0
//
// micro_bench: questions about access entries, each over a whole domain; the argument is the number
// of its entries. Every entry was used once, in random order, then twice as many uses followed
// Zipf's law: 1024 ids a tick. So the coldest stand anywhere, and many have the same tick.
#include "streams/streams.hpp"
#include <tidepool/access_tracker.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <vector>

namespace {

using benchmark::State;
using tidepool::access_info;
using tidepool::access_order;
using tidepool::pool;

constexpr std::size_t ids_of_tick = 1024;

struct used_entries {
  explicit used_entries(std::int64_t size) {
    const auto n = static_cast<std::size_t>(size);
    const auto made = entries.accesses().make_domain({.size = n, .standalone = true});
    std::vector<std::int32_t> once(n);
    std::iota(once.begin(), once.end(), 0);
    std::shuffle(once.begin(), once.end(), std::mt19937_64(1));
    record(*made, once);
    middle = now;
    record(*made,
           tidepool::bench::streams::zipf_indices(2 * n, static_cast<std::uint32_t>(n), 1, 1));
  }
  void record(tidepool::domain where, std::span<const std::int32_t> all) {
    while (!all.empty()) {
      const auto batch = all.first(std::min(all.size(), ids_of_tick));
      (void)entries.accesses().record({.where = where, .indices = batch, .tick = ++now});
      all = all.subspan(batch.size());
    }
  }

  pool entries{tidepool::cpu::make_backend(), {.access_half_life = 64}};
  std::uint64_t now = 0;
  std::uint64_t middle = 0;  // the last tick before Zipf's law
};

void coldest_64(State& state, access_order by) {
  const used_entries used(state.range(0));
  std::array<access_info, 64> out;
  for (auto _ : state) {
    benchmark::DoNotOptimize(used.entries.accesses().coldest(out, by));
  }
}
BENCHMARK_CAPTURE(coldest_64, tick, access_order::tick)->Arg(100000)->Arg(1000000);
BENCHMARK_CAPTURE(coldest_64, score, access_order::score)->Arg(100000)->Arg(1000000);

void hottest_64(State& state, access_order by) {
  const used_entries used(state.range(0));
  std::array<access_info, 64> out;
  for (auto _ : state) {
    benchmark::DoNotOptimize(used.entries.accesses().hottest(out, by));
  }
}
BENCHMARK_CAPTURE(hottest_64, tick, access_order::tick)->Arg(100000);
BENCHMARK_CAPTURE(hottest_64, score, access_order::score)->Arg(100000);

/// `found` of them qualify, the coldest 64 are written.
void older_than(State& state) {
  const used_entries used(state.range(0));
  std::array<access_info, 64> out;
  std::size_t found = 0;
  for (auto _ : state) {
    found = used.entries.accesses().older_than(used.middle, out).found;
    benchmark::DoNotOptimize(out);
  }
  state.counters["found"] = static_cast<double>(found);
}
BENCHMARK(older_than)->Arg(100000);

void age_histogram(State& state) {
  const used_entries used(state.range(0));
  for (auto _ : state) {
    benchmark::DoNotOptimize(used.entries.accesses().age_histogram());
  }
}
BENCHMARK(age_histogram)->Arg(100000);

void accesses_by_category(State& state) {
  const used_entries used(state.range(0));
  for (auto _ : state) {
    benchmark::DoNotOptimize(used.entries.accesses().by_category());
  }
}
BENCHMARK(accesses_by_category)->Arg(100000);

}  // namespace
