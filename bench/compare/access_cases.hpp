// SPDX-License-Identifier: Apache-2.0
//
// Cases D1 .. D7 of `tidepool compare`: batches of accesses.
#pragma once

#include "compare/contest.hpp"

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace tidepool::bench::compare {

struct case_settings {
  effort how = {};
  bool quick = false;                                          ///< small tables only
  std::function<void(const std::string&)> progress = nullptr;  ///< told what is measured next
};

struct comparison_case {
  const char* name;
  const char* what;
  std::vector<row> (*run)(const case_settings& settings);
};
/// All cases, in their order.
[[nodiscard]] std::span<const comparison_case> all_cases() noexcept;

}  // namespace tidepool::bench::compare
