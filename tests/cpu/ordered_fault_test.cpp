// SPDX-License-Identifier: Apache-2.0
//
// Faults that users order, by options and by the variable TIDEPOOL, seen through a pool.
#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <gtest/gtest.h>

#include <stdlib.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tidepool::cpu {
namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

/// Two backends: one ordered in code, one by the variable. Null where there is none.
std::unique_ptr<backend> ordered(fault_options faults, bool in_code, const char* environment) {
  const backend_options options{.arena_bytes = 64 * mebibyte,
                                .faults = in_code ? faults : fault_options{}};
  if (!in_code) {
    ::setenv("TIDEPOOL", environment, 1);
  }
  result<std::unique_ptr<backend>> made = try_make_backend(options);
  ::unsetenv("TIDEPOOL");
  if (!made) {
    EXPECT_EQ(made.error().code, errc::out_of_memory);
    EXPECT_EQ(made.error().native, ENOMEM);
    return nullptr;
  }
  return std::move(*made);
}

class OrderedFaults : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(by, OrderedFaults, ::testing::Bool(),
                         [](const auto& one) { return one.param ? "options" : "environment"; });

TEST_P(OrderedFaults, ExhaustionIsAnAnswerAndEnds) {
  pool p(ordered({.exhaust_at = 8 * mebibyte}, GetParam(), "exhaust_at=8MiB"));
  for (int round = 0; round < 3; ++round) {
    std::vector<tensor> held;
    std::size_t bytes = 0;
    while (result<tensor> made = p.try_allocate(100000)) {
      bytes += made->bytes();
      held.push_back(std::move(*made));
    }
    EXPECT_EQ(p.try_allocate(100000).error().code, errc::out_of_memory) << "and not a limit";
    EXPECT_LE(bytes, 8 * mebibyte);
    EXPECT_GT(bytes, 6 * mebibyte);
    EXPECT_LE(p.control().statistics().devices[0].reserved_bytes, 8 * mebibyte);
    EXPECT_EQ(p.control().verify(), nullptr);
  }
  EXPECT_TRUE(p.try_allocate(7 * mebibyte).has_value());
  EXPECT_FALSE(p.try_allocate(9 * mebibyte).has_value());
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
}

TEST_P(OrderedFaults, TheFirstCallsAreThoseOfMaking) {
  EXPECT_EQ(ordered({.fail_every = 1}, GetParam(), "fail_every=1"), nullptr);
}

TEST_P(OrderedFaults, EachCallByItsNumber) {
  for (std::uint64_t n = 1; n <= 40; ++n) {
    const std::string text = "fail_call=" + std::to_string(n);
    std::unique_ptr<backend> source = ordered({.fail_call = n}, GetParam(), text.c_str());
    if (source == nullptr) {
      continue;
    }
    pool p(std::move(source));
    for (const std::size_t bytes : {std::size_t{100}, 3 * mebibyte, 100 * mebibyte}) {
      EXPECT_TRUE(p.try_allocate(bytes).has_value()) << n << ": one failure is survived";
    }
    (void)p.control().trim();
    EXPECT_EQ(p.control().trim().reserved_bytes, 0U) << n;
    EXPECT_EQ(p.control().verify(), nullptr) << n;
  }
}

TEST(OrderedFaultsPrecedence, NumbersInCodeAreKept) {
  ::setenv("TIDEPOOL", "exhaust_at=1MiB", 1);
  pool p(make_backend({.arena_bytes = 64 * mebibyte, .faults = {.exhaust_at = 8 * mebibyte}}));
  ::unsetenv("TIDEPOOL");
  EXPECT_TRUE(p.try_allocate(5 * mebibyte).has_value());
  EXPECT_FALSE(p.try_allocate(9 * mebibyte).has_value());
}

TEST(OrderedFaultsMembarrier, WithoutItCachesAreReachedAllTheSame) {
  for (const bool in_code : {true, false}) {
    if (!in_code) {
      ::setenv("TIDEPOOL", "no_membarrier,no_huge_pages", 1);
    }
    pool p(make_backend({.arena_bytes = 64 * mebibyte}), {.membarrier = !in_code});
    ::unsetenv("TIDEPOOL");
    for (int i = 0; i < 100; ++i) {
      p.allocate(4096).reset();
    }
    EXPECT_GT(p.control().statistics().total.front_hits, 90U) << "threads still keep blocks";
    EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
    EXPECT_EQ(p.control().verify(), nullptr);
  }
}

}  // namespace
}  // namespace tidepool::cpu
