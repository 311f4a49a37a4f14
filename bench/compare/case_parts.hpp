// SPDX-License-Identifier: Apache-2.0
//
// What the cases' files share.
#pragma once

#include "compare/access_cases.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tidepool::bench::compare {

using ids = std::vector<std::int32_t>;

/// A clock for the batches: each has the next tick.
inline std::uint64_t batch_tick = 0;

inline void require(bool holds, const char* what) {
  if (!holds) {
    throw std::runtime_error(std::string("compare: ") + what);
  }
}

inline std::span<const std::int32_t> part(const ids& stream, std::size_t begin, std::size_t batch) {
  return std::span(stream).subspan(begin, std::min(batch, stream.size() - begin));
}

inline void append(std::vector<row>& all, std::vector<row> more) {
  for (row& each : more) {
    all.push_back(std::move(each));
  }
}

// access_cases_threads.cpp, access_cases_keys.cpp
[[nodiscard]] std::vector<row> two_threads(const case_settings& settings);
[[nodiscard]] std::vector<row> keys_case(const case_settings& settings);
[[nodiscard]] std::vector<row> tensor_ids_case(const case_settings& settings);

}  // namespace tidepool::bench::compare
