// SPDX-License-Identifier: Apache-2.0
//
// Fuzz target: any bytes are a pool's options, a plan of faults and a list of operations, run
// against tests/property's model. A difference is printed with the operations in words.
#include "../property/operations.hpp"

#include "../property/model.hpp"
#include "input.hpp"
#include <tidepool/cpu/backend.hpp>
#include <tidepool/failing_backend.hpp>

#include <iostream>
#include <memory>
#include <utility>
#include <vector>

namespace tidepool::fuzz {
namespace {

using namespace test;  // NOLINT: its operations

constexpr std::size_t mib = std::size_t{1} << 20;
constexpr unsigned largest_bits = 22;  // tensors up to 8 MiB
constexpr std::size_t most_operations = 400;

failing_backend* failing = nullptr;

failure_plan plan_from(input& in) {
  failure_plan plan{.seed = in.byte()};
  const std::uint8_t kind = in.byte();
  const std::uint8_t figure = in.byte();
  plan.halfway = (kind & 8) != 0;
  if ((kind & 16) != 0) {
    plan.only = static_cast<backend_call>(kind >> 5);
  }
  switch (kind % 8) {
  case 1:
    plan.fail_call = figure;
    break;
  case 2:
    plan.fail_from = figure;
    break;
  case 3:
    plan.fail_every = figure;
    break;
  case 4:
    plan.probability = figure / 255.0;
    break;
  case 5:
    plan.exhaust_at = figure * (mib / 8);
    break;
  case 6:
    plan.code = errc::over_budget;
    plan.probability = figure / 512.0;
    break;
  default:
    break;
  }
  return plan;
}

pool_options options_from(input& in) {
  pool_options options;
  const std::uint8_t kind = in.byte();
  options.limit_bytes = (kind & 1) != 0 ? (1 + in.byte()) * (mib / 4) : SIZE_MAX;
  options.thread_cache_bytes = (kind & 2) != 0 ? in.byte() * std::size_t{4096} : 32 * mib;
  options.ready_bytes = (kind & 4) != 0 ? in.byte() * std::size_t{4096} : 8 * mib;
  options.minimum_alignment = (kind & 8) != 0 ? std::size_t{1} << in.byte() % 13 : 0;
  options.max_tensors = 4096;
  options.membarrier = (kind & 16) == 0;
  return options;
}

operation operation_from(input& in) {
  const std::uint8_t kind = in.byte() % 32;
  if (kind < 11) {
    const std::size_t bytes = in.size(largest_bits);
    const std::uint8_t more = in.byte();
    return allocate{bytes, (more & 1) != 0 ? std::size_t{1} << in.byte() % 16 : 0,
                    (more & 2) != 0 ? in.byte() % 16U : 0U,
                    (more & 12) == 12 ? 1 + std::uint64_t{in.byte()} % 20 : 0};
  }
  const std::size_t which = in.number<std::uint16_t>();
  switch (kind) {
  case 20:
    return share_one{which};
  case 21:
    return slice_one{which, in.size(12), in.size(12)};
  case 22:
  case 23:
    return resize_one{which, in.size(largest_bits)};
  case 24:
    return pin_one{which};
  case 25:
    return unpin_one{which};
  case 26:
    return set_one{which, in.byte() % 5U, in.byte() % 16U};
  case 27:
    return look{which};
  case 28:
    return trim_all{which * 1024};
  case 29:
    return prewarm_some{in.size(largest_bits), in.byte() % 8U};
  case 30:
    return which % 2 == 0 ? operation{thread_idle{}} : operation{tick{}};
  case 31:
    return count_all{};
  default:
    return free_one{which};
  }
}

}  // namespace
}  // namespace tidepool::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tidepool;
  using namespace tidepool::fuzz;
  using tidepool::test::model_options;
  input in({data, size});
  const failure_plan plan = plan_from(in);
  const std::uint8_t every = in.byte();
  const model_options options{.make_backend =
                                  [&] {
                                    // Calls of its making do not fail here: there would be no pool.
                                    const std::uint64_t fail_every = every == 0 ? 0 : 40U + every;
                                    auto made = std::make_unique<failing_backend>(
                                        cpu::make_backend({.huge_pages = cpu::huge_pages::never,
                                                           .arena_bytes = 64 * mib,
                                                           .decay_ticks = 2,
                                                           .faults = {.fail_every = fail_every}}),
                                        plan);
                                    failing = made.get();
                                    return made;
                                  },
                              .pool = options_from(in),
                              .check_every = 32,
                              .may_run_out = true,
                              .end_faults = [](pool& p) { test::end_faults(*failing, p); }};
  std::vector<operation> list;
  while (!in.is_empty() && list.size() < most_operations) {
    list.push_back(operation_from(in));
  }
  if (const auto failure = run(options, list)) {
    for (const operation& what : list) {
      std::cerr << "    " << what << ",\n";
    }
    found(failure->c_str());
  }
  return 0;
}
