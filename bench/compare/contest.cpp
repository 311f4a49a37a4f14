// SPDX-License-Identifier: Apache-2.0
//
// How a contest is held.
#include "compare/contest.hpp"

#include <time.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace tidepool::bench::compare {

namespace {

double now_ns(::clockid_t clock) {
  ::timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// What one thread does alone is timed by its own processor time: other programs then count by what
// they do to caches and clock rates, not by the time that they are given.
double time_ns(const contestant& who, std::size_t times, unsigned threads) {
  const ::clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  const double begin = now_ns(clock);
  for (std::size_t i = 0; i < times; ++i) {
    who.run();
  }
  return now_ns(clock) - begin;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::vector<row> hold(const contest& of, const effort& how) {
  std::vector<const contestant*> all{&of.ours};
  for (const contestant& rival : of.rivals) {
    all.push_back(&rival);
  }
  std::vector<std::size_t> times;
  for (const contestant* each : all) {
    each->run();  // the first touches memory
    const double once = std::max(time_ns(*each, 1, of.threads), 1.0);
    times.push_back(static_cast<std::size_t>(how.run_ms * 1e6 / once) + 1);
  }
  std::vector<std::vector<double>> measured(all.size());
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), 0U);
  std::minstd_rand random(1);
  for (unsigned r = 0; r < how.repetitions; ++r) {
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t i : order) {
      measured[i].push_back(time_ns(*all[i], times[i], of.threads) / static_cast<double>(times[i]) /
                            of.units);
    }
  }
  std::vector<row> rows;
  for (std::size_t i = 1; i < all.size(); ++i) {
    std::vector<double> ratios;
    for (std::size_t r = 0; r < measured[i].size(); ++r) {
      ratios.push_back(measured[0][r] / measured[i][r]);
    }
    rows.push_back({.name = of.name,
                    .pattern = of.pattern,
                    .size = of.size,
                    .threads = of.threads,
                    .touch = of.touch,
                    .unit = of.unit,
                    .ours = median(measured[0]),
                    .ours_min = *std::min_element(measured[0].begin(), measured[0].end()),
                    .best_peer = all[i]->name,
                    .best = median(measured[i]),
                    .best_min = *std::min_element(measured[i].begin(), measured[i].end()),
                    .ratio = median(ratios),
                    .target = all[i]->target});
  }
  return rows;
}

}  // namespace tidepool::bench::compare
