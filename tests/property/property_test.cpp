// SPDX-License-Identifier: Apache-2.0
//
// Random operations on a pool and on its model, for several backends and options. A failure prints
// the seed and a shrunk list of operations, fit for regressions_test.cpp.
// TIDEPOOL_TEST_SEEDS: seeds per case; TIDEPOOL_TEST_STEPS: operations per seed.
#include "../support/amount.hpp"
#include "../support/heap_backend.hpp"
#include "../support/small_cpu.hpp"
#include "model.hpp"
#include <tidepool/cpu/backend.hpp>
#include <tidepool/failing_backend.hpp>

#include <gtest/gtest.h>

#include <iostream>
#include <sstream>

namespace tidepool::test {
namespace {

struct property_case {
  const char* name;
  model_options options;
};
// GoogleTest prints the bytes of what has no operator.
std::ostream& operator<<(std::ostream& out, const property_case& what) {
  return out << what.name;
}

class PoolProperty : public ::testing::TestWithParam<property_case> {};

TEST_P(PoolProperty, BehavesAsItsModel) {
  const model_options& options = GetParam().options;
  const std::size_t seeds = amount("TIDEPOOL_TEST_SEEDS", 6);
  const std::size_t steps = amount("TIDEPOOL_TEST_STEPS", 1500);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::vector<operation> list = random_operations(seed, steps);
    if (const auto failure = run(options, list)) {
      const std::vector<operation> shorter = shrink(options, list);
      std::ostringstream text;
      for (const operation& what : shorter) {
        text << "    " << what << ",\n";
      }
      FAIL() << *failure << ", seed " << seed << ", steps " << steps << "; shrunk to "
             << run(options, shorter).value_or("nothing") << ":\n"
             << text.str();
    }
  }
}

[[nodiscard]] std::unique_ptr<backend> cpu_without_huge_pages() {
  return small_cpu();
}
[[nodiscard]] std::unique_ptr<backend> huge_cpu() {
  return cpu::make_backend(
      {.huge_pages = cpu::huge_pages::always, .arena_bytes = std::size_t{512} << 20});
}
// Backends that fail as ordered; the last one made is the one at work.
failing_backend* failing = nullptr;
template <class Make>
[[nodiscard]] model_options with_faults(Make make, const failure_plan& plan,
                                        const pool_options& options = {}) {
  return {.make_backend =
              [make, plan] {
                auto made = std::make_unique<failing_backend>(make(), plan);
                failing = made.get();
                return made;
              },
          .pool = options,
          .may_run_out = true,
          .end_faults = [](pool& p) { end_faults(*failing, p); }};
}
[[nodiscard]] std::unique_ptr<backend> cpu_with_failing_calls() {
  return cpu::make_backend({.huge_pages = cpu::huge_pages::never,
                            .arena_bytes = std::size_t{64} << 20,
                            .faults = {.fail_every = 31}});
}
heap_log log;  // outlives the cases' backends
[[nodiscard]] std::unique_ptr<backend> heap() {
  return std::make_unique<heap_backend>(log);
}

// Debug modes change what blocks hold and when they come back, and nothing else.
const debug_options canaries{.poison = true,
                             .guard = guard_mode::canary,
                             .quarantine_bytes = 2 * mib,
                             .call_site_frames = 4,
                             .report_leaks = false};
const debug_options pages{.guard = guard_mode::pages, .quarantine_bytes = 2 * mib};

INSTANTIATE_TEST_SUITE_P(
    pools, PoolProperty,
    ::testing::Values(
        property_case{"cpu", {cpu_without_huge_pages, {}}},
        property_case{"cpu_huge_pages", {huge_cpu, {}}},
        property_case{"cpu_limit", {cpu_without_huge_pages, {.limit_bytes = 24 * mib}}},
        property_case{"cpu_uncached", {cpu_without_huge_pages, {.thread_cache_bytes = 0}}},
        property_case{
            "cpu_little_cache",
            {cpu_without_huge_pages, {.thread_cache_bytes = 256 << 10, .ready_bytes = 64 << 10}}},
        property_case{"cpu_aligned", {cpu_without_huge_pages, {.minimum_alignment = 256}}},
        property_case{"cpu_every_third_fails",
                      with_faults(cpu_without_huge_pages, {.fail_every = 3})},
        property_case{
            "cpu_halfway",
            with_faults(cpu_without_huge_pages,
                        {.only = backend_call::refill, .probability = 0.7, .halfway = true})},
        property_case{"cpu_by_chance", with_faults(cpu_without_huge_pages, {.probability = 0.9},
                                                   {.limit_bytes = 24 * mib})},
        property_case{"cpu_exhausted",
                      with_faults(cpu_without_huge_pages, {.exhaust_at = 6 * mib})},
        property_case{"cpu_failing_system_calls", with_faults(cpu_with_failing_calls, {})},
        property_case{"heap_by_chance",
                      with_faults(heap, {.probability = 0.5}, {.ready_bytes = 64 << 10})},
        property_case{"cpu_canaries", {cpu_without_huge_pages, {.debug = canaries}}},
        property_case{"cpu_guard_pages", {cpu_without_huge_pages, {.debug = pages}}},
        property_case{"cpu_canaries_by_chance",
                      with_faults(cpu_without_huge_pages, {.probability = 0.9},
                                  {.limit_bytes = 24 * mib, .debug = canaries})},
        property_case{"heap_canaries", {heap, {.debug = canaries}}},
        property_case{"heap", {heap, {}}},
        property_case{"heap_limit", {heap, {.limit_bytes = 8 * mib}}}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace tidepool::test
