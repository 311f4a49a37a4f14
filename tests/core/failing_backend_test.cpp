// SPDX-License-Identifier: Apache-2.0
//
// failing_backend as a user's test has it: around a real backend, ordered to fail in each way while
// a pool works on it, and silent again.
#include "support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/failing_backend.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace tidepool::test {
namespace {

class FailingBackend : public ::testing::Test {
 protected:
  FailingBackend() : FailingBackend(std::make_unique<failing_backend>(small_cpu())) {}
  ~FailingBackend() override {
    faults.order({});
    EXPECT_EQ(p.control().verify(), nullptr);
    EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
    EXPECT_EQ(faults.handed_out_bytes(), 0U);
  }

  failing_backend& faults;
  pool p;

 private:
  explicit FailingBackend(std::unique_ptr<failing_backend> made)
      : faults(*made), p(std::move(made), {.thread_cache_bytes = 0}) {}
};

TEST_F(FailingBackend, WithoutAnOrderItForwards) {
  const tensor small = p.allocate(1000);
  tensor large = p.allocate(3 * mib);
  EXPECT_EQ(p.resize(large, 5 * mib), errc::ok);
  EXPECT_GE(faults.handed_out_bytes(), 5 * mib + 1000);
  EXPECT_GE(faults.calls(backend_call::refill), 1U);
  EXPECT_GE(faults.calls(backend_call::allocate_large), 1U);
  EXPECT_EQ(faults.calls(backend_call::extend), 1U);
  EXPECT_EQ(faults.failures(), 0U);
  EXPECT_EQ(p.devices()[0].name, "host memory");
}

TEST_F(FailingBackend, OneFailedCallIsSurvived) {
  for (std::uint64_t n = 1; n <= 8; ++n) {
    faults.order({.fail_call = n});
    EXPECT_TRUE(p.try_allocate(1000).has_value()) << n;
    EXPECT_TRUE(p.try_allocate(3 * mib).has_value()) << n;
  }
}

TEST_F(FailingBackend, AllCallsFromOneOnAreNot) {
  const tensor before = p.allocate(1000);
  (void)p.control().trim();
  faults.order({.fail_from = 1});
  const status why = p.try_allocate(100000).error();
  EXPECT_EQ(why.code, errc::out_of_memory);
  EXPECT_EQ(p.try_allocate(3 * mib).error().code, errc::out_of_memory);
  EXPECT_THROW((void)p.allocate(3 * mib), out_of_memory);
  EXPECT_GT(faults.failures(), 2U);
  EXPECT_EQ(faults.failures(), faults.calls());
  faults.order({.fail_from = 1, .code = errc::device_lost});
  EXPECT_EQ(p.try_allocate(3 * mib).error().code, errc::device_lost);
  EXPECT_TRUE(p.info(before.id()).has_value());
}

TEST_F(FailingBackend, OnlyCallsOfOneKind) {
  faults.order({.only = backend_call::allocate_large, .fail_from = 1});
  EXPECT_TRUE(p.try_allocate(1000).has_value());
  EXPECT_FALSE(p.try_allocate(3 * mib).has_value());
  EXPECT_EQ(faults.calls(), faults.calls(backend_call::allocate_large));
  faults.order({.only = backend_call::extend, .fail_from = 1});
  tensor large = p.allocate(3 * mib);
  EXPECT_EQ(p.resize(large, 5 * mib), errc::out_of_memory);
  EXPECT_EQ(large.bytes(), 3 * mib);
  faults.order({.only = backend_call::trim, .fail_from = 1});
  large.reset();
  EXPECT_EQ(p.control().trim().released_bytes, 0U);
}

TEST_F(FailingBackend, EveryThirdCall) {
  faults.order({.fail_every = 3});
  for (int i = 0; i < 30; ++i) {
    EXPECT_TRUE(p.try_allocate(3 * mib).has_value()) << i;
  }
  EXPECT_EQ(faults.failures(), faults.calls() / 3);
}

TEST_F(FailingBackend, ByChanceTheSameForTheSameSeed) {
  const auto failures = [&](std::uint64_t seed) {
    faults.order({.only = backend_call::allocate_large, .probability = 0.5, .seed = seed});
    std::vector<bool> seen;
    for (int i = 0; i < 64; ++i) {
      seen.push_back(p.try_allocate(3 * mib).has_value());
      (void)p.control().trim();
    }
    EXPECT_GT(faults.failures(), faults.calls() / 4);
    EXPECT_LT(faults.failures(), faults.calls() * 3 / 4);
    return seen;
  };
  EXPECT_EQ(failures(1), failures(1));
  EXPECT_NE(failures(1), failures(2));
}

TEST_F(FailingBackend, RunsOutAtALevel) {
  faults.order({.exhaust_at = 10 * mib});
  std::vector<tensor> held;
  for (;;) {
    result<tensor> made = p.try_allocate(mib);
    if (!made) {
      EXPECT_EQ(made.error().code, errc::out_of_memory);
      break;
    }
    held.push_back(std::move(*made));
  }
  EXPECT_EQ(held.size(), 10U);
  EXPECT_EQ(faults.handed_out_bytes(), 10 * mib);
  held.pop_back();
  EXPECT_TRUE(p.try_allocate(mib).has_value()) << "what came back may go out again";
  faults.order({});
  EXPECT_TRUE(p.try_allocate(20 * mib).has_value());
}

TEST_F(FailingBackend, RefusesGrowthButServesWhatItHolds) {
  p.allocate(4 * mib).reset();
  faults.order({.refuse_growth = true});
  EXPECT_TRUE(p.try_allocate(4 * mib).has_value());
  EXPECT_FALSE(p.try_allocate(64 * mib).has_value());
  EXPECT_EQ(faults.failures(), 0U) << "the backend itself said no";
}

// Through a refill's first half a batch is kept; the rest is asked for again.
TEST(FailingBackendBatches, ARefillMayStopHalfway) {
  auto made = std::make_unique<failing_backend>(
      small_cpu(), failure_plan{.only = backend_call::refill, .fail_from = 1, .halfway = true});
  failing_backend& faults = *made;
  pool p(std::move(made));
  std::vector<tensor> held;
  std::size_t refused = 0;
  for (int i = 0; i < 2000; ++i) {
    result<tensor> one = p.try_allocate(256);
    if (one) {
      held.push_back(std::move(*one));
    } else {
      EXPECT_EQ(one.error().code, errc::out_of_memory);
      ++refused;
    }
    ASSERT_EQ(p.control().verify(), nullptr);
  }
  EXPECT_GT(faults.failures(), refused);
  EXPECT_EQ(p.control().statistics().total.live, held.size());
}

}  // namespace
}  // namespace tidepool::test
