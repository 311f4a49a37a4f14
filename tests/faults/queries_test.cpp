// SPDX-License-Identifier: Apache-2.0
//
// Questions of the C interface need memory for their answers. Refused at any position they say so,
// write nothing, and the next question is answered.
#include "../support/small_cpu.hpp"
#include "faults.hpp"
#include <tidepool.h>
#include <tidepool/access.h>
#include <tidepool/c_interop.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>

namespace tidepool::test {
namespace {

/// A C pool with a domain of eight standalone entries.
class Queries : public ::testing::Test {
 protected:
  Queries() {
    tidepool_backend* source = to_c(small_cpu());
    EXPECT_EQ(tidepool_pool_create(&source, 1, nullptr, &pool), TIDEPOOL_OK);
    tidepool_domain_options options{};
    options.size = sizeof options;
    options.elements = 8;
    options.standalone = 1;
    options.where = device::cpu().bits();
    options.category = TIDEPOOL_CATEGORY_EXPERT;
    tidepool_domain made = 0;
    EXPECT_EQ(tidepool_domain_create(pool, &options, &made), TIDEPOOL_OK);
  }
  ~Queries() override { tidepool_pool_destroy(pool); }

  /// ask() with each of its heap allocations failing: `untouched` is true after it.
  template <class Ask, class Untouched>
  void refuse_each(Ask&& ask, Untouched&& untouched) {
    std::uint64_t n = 1;
    for (;; ++n) {
      SCOPED_TRACE("allocation " + std::to_string(n));
      faults.reset(fault_kind::heap, n, false);
      const tidepool_status answered = within(ask);
      const bool was_refused = faults.failed != 0;
      faults.reset(fault_kind::heap, 0, false);
      if (!was_refused) {
        EXPECT_EQ(answered, TIDEPOOL_OK);
        break;
      }
      EXPECT_EQ(answered, TIDEPOOL_OUT_OF_MEMORY);
      EXPECT_TRUE(untouched());
      EXPECT_EQ(tidepool_verify(pool), nullptr);
    }
    EXPECT_GT(n, 1U) << "the question needed no memory";
  }

  tidepool_pool* pool = nullptr;
};

TEST_F(Queries, WithoutMemoryForTheAnswerSayThatAndWriteNothing) {
  std::array<tidepool_access_info, 4> out{};
  std::size_t count = 0;
  std::size_t found = 0;
  const auto ask = [&](auto&& question) {
    return [&, question] {
      out = {};
      out[0].size = sizeof out[0];
      count = out.size();
      found = 77;
      return question();
    };
  };
  const auto untouched = [&] {
    return out[0].bound_to == 0 && out[1].size == 0 && count == out.size() && found == 77;
  };
  refuse_each(ask([&] { return tidepool_coldest(pool, 0, nullptr, out.data(), &count); }),
              untouched);
  EXPECT_EQ(count, 4U);
  refuse_each(ask([&] { return tidepool_hottest(pool, 1, nullptr, out.data(), &count); }),
              untouched);
  refuse_each(
      ask([&] { return tidepool_older_than(pool, 5, nullptr, out.data(), &count, &found); }),
      untouched);
  EXPECT_EQ(found, 8U);
}

TEST_F(Queries, WithoutMemoryForTheFilterSayThatAndWriteNothing) {
  const std::array<std::uint32_t, 1> devices{device::cpu().bits()};
  tidepool_access_filter filter{};
  filter.size = sizeof filter;
  filter.devices = devices.data();
  filter.device_count = devices.size();
  tidepool_access_ages ages{};
  refuse_each(
      [&] {
        ages = {};
        ages.size = sizeof ages;
        return tidepool_age_histogram(pool, &filter, &ages);
      },
      [&] { return ages.entries[0] == 0; });
  EXPECT_EQ(ages.entries[0], 8U);
}

}  // namespace
}  // namespace tidepool::test
