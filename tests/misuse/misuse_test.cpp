// SPDX-License-Identifier: Apache-2.0
//
// Plays every row of the table in every kind of pool. Whatever was done wrong: the answer is the
// one of the row, the handler hears of it as often as it happened, the bystanders are as they were,
// no block is given out twice, all invariants hold, and in the end no byte is lost.
#include "scene.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <ostream>
#include <string>
#include <tuple>

namespace tidepool::test {
namespace {

struct mode {
  const char* name;
  pool_options options;
};

std::ostream& operator<<(std::ostream& out, const mode& how) {
  return out << how.name;
}

class Misuse : public ::testing::TestWithParam<std::tuple<mode, misuse>> {};

void expect_untouched(scene& s) {
  for (const tensor& one : s.bystanders()) {
    const result<tensor_info> info = s.p.info(one.id());
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->data, one.data());
    EXPECT_EQ(info->bytes, one.bytes());
    EXPECT_EQ(info->references, 1U);
    EXPECT_EQ(info->pins, 0U);
    EXPECT_EQ(info->category, category::temporary);
    // Each byte is as the one before, and the first is right: a loop of ours is slow here.
    const auto bytes = one.as<unsigned char>();
    EXPECT_TRUE(bytes.front() == 0x5a &&
                std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
  }
}

// New tensors of the same sizes get blocks of their own.
void expect_no_block_twice(scene& s) {
  std::vector<tensor> made;
  std::vector<std::pair<std::uintptr_t, std::size_t>> places;
  const auto place = [&](const tensor& t) {
    places.emplace_back(reinterpret_cast<std::uintptr_t>(t.data()), t.bytes());
  };
  for (const tensor& one : s.bystanders()) {
    place(one);
    for (int i = 0; i < 20; ++i) {
      made.push_back(s.p.allocate(one.bytes()));
      place(made.back());
    }
  }
  std::sort(places.begin(), places.end());
  for (std::size_t i = 1; i < places.size(); ++i) {
    ASSERT_LE(places[i - 1].first + places[i - 1].second, places[i].first);
  }
}

TEST_P(Misuse, IsAnsweredAndChangesNothing) {
  const auto& [how, row] = GetParam();
  scene s(how.options);
  EXPECT_EQ(describe(row.play(s)), std::string(describe(row.answer)));
  EXPECT_EQ(s.reports.size(), row.told ? row.times : 0);
  for (const misuse_report& told : s.reports) {
    EXPECT_EQ(static_cast<int>(told.kind), static_cast<int>(row.told.value_or(told.kind)));
    EXPECT_NE(told.text, nullptr);
  }
  EXPECT_EQ(s.p.control().statistics().misuses, s.reports.size());
  expect_untouched(s);
  EXPECT_EQ(s.p.control().verify(), nullptr);
  if (row.told != misuse_kind::after_close && s.p.try_allocate(1).has_value()) {
    expect_no_block_twice(s);
    expect_untouched(s);
    EXPECT_EQ(s.p.control().statistics().total.live, s.bystanders().size())
        << "the row leaves none";
  }
  s.end();
  EXPECT_EQ(s.p.control().statistics().total.live, 0U);
  EXPECT_EQ(s.p.control().statistics().total.requested_bytes, 0U);
  EXPECT_EQ(s.p.control().trim().reserved_bytes, 0U);
  EXPECT_EQ(s.p.control().verify(), nullptr);
}

std::vector<misuse> all_rows() {
  std::vector<misuse> all;
  for (const auto& part : {wrong_frees(), wrong_references(), wrong_uses(), wrong_arguments()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(
    table, Misuse,
    ::testing::Combine(::testing::Values(mode{"cached", {}},
                                         mode{"uncached", {.thread_cache_bytes = 0}},
                                         mode{"fenced", {.membarrier = false}}),
                       ::testing::ValuesIn(all_rows())),
    [](const auto& one) {
      return std::string(std::get<1>(one.param).name) + "_" + std::get<0>(one.param).name;
    });

}  // namespace
}  // namespace tidepool::test
