// SPDX-License-Identifier: Apache-2.0
//
// Order statistics of measured values.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace tidepool::bench {

/// The smallest value that a share `q` of all values does not exceed (nearest rank); 0 without
/// values. Reorders them. Pre: 0 <= q <= 1.
[[nodiscard]] inline double quantile(std::vector<float>& values, double q) noexcept {
  if (values.empty()) {
    return 0;
  }
  const double rank = std::ceil(q * static_cast<double>(values.size()));
  const auto place = static_cast<std::ptrdiff_t>(std::max(rank, 1.0)) - 1;
  std::nth_element(values.begin(), values.begin() + place, values.end());
  return static_cast<double>(values[static_cast<std::size_t>(place)]);
}

[[nodiscard]] inline double mean(const std::vector<float>& values) noexcept {
  double sum = 0;
  for (const float value : values) {
    sum += static_cast<double>(value);
  }
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

}  // namespace tidepool::bench
