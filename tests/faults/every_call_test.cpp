// SPDX-License-Identifier: Apache-2.0
//
// Each scenario with its first call failing, its second, ... its last: once, and from there on for
// good. First for system calls, then for the heap's operator new.
#include "scenarios.hpp"

#include <gtest/gtest.h>

#include <cctype>
#include <string>
#include <tuple>

namespace tidepool::test {
namespace {

class EveryCall : public ::testing::TestWithParam<std::tuple<scenario, fault_kind, bool>> {};

TEST_P(EveryCall, MayFail) {
  const scenario& what = std::get<0>(GetParam());
  const fault_kind kind = std::get<1>(GetParam());
  const bool for_good = std::get<2>(GetParam());
  const auto run_once = [&](std::uint64_t number) {
    faults.reset(kind, number, for_good);
    {
      world w;
      if (w.is_open()) {
        what.run(w);
        if (number != 0 && faults.calls >= number) {
          faults.fail_call = 0;  // from here on there is enough again
          w.recover();
        }  // else it is a call of the end
      }
    }
    faults.fail_call = 0;
  };
  // This thread's cache is kept for its later pools: made here, it is not counted below.
  run_once(0);
  const std::int64_t before = faults.mapped;
  run_once(0);
  EXPECT_EQ(faults.mapped, before);
  EXPECT_EQ(faults.failed, 0U);
  const std::uint64_t last = faults.calls;
  ASSERT_GT(last, kind == fault_kind::system_call ? 4U : 2U);
  for (std::uint64_t n = 1; n <= last; ++n) {
    SCOPED_TRACE("call " + std::to_string(n) + " of " + std::to_string(last));
    const std::int64_t mapped = faults.mapped;
    faults.kept = 0;
    run_once(n);
    // How many calls an arena takes depends on where the kernel puts it.
    EXPECT_TRUE(faults.failed >= 1U || faults.calls < n);
    EXPECT_GE(faults.mapped, mapped);
    EXPECT_LE(faults.mapped, mapped + faults.kept) << "address space that nobody refused to free";
    if (HasFailure()) {
      return;
    }
  }
  RecordProperty("calls", static_cast<int>(last));
}

std::string name_of(const ::testing::TestParamInfo<EveryCall::ParamType>& one) {
  const auto& [what, kind, for_good] = one.param;
  std::string name = kind == fault_kind::heap ? "heap_" : "system_";
  name += for_good ? "for_good_" : "once_";
  for (const char* c = what.name; *c != '\0'; ++c) {
    name += std::isalnum(static_cast<unsigned char>(*c)) != 0 ? *c : '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(scenarios, EveryCall,
                         ::testing::Combine(::testing::ValuesIn(scenarios()),
                                            ::testing::Values(fault_kind::system_call,
                                                              fault_kind::heap),
                                            ::testing::Bool()),
                         name_of);

}  // namespace
}  // namespace tidepool::test
