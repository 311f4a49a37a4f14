// SPDX-License-Identifier: Apache-2.0
//
// Rows of a comparison as a table for people and as JSON for programs.
#pragma once

#include "compare/contest.hpp"

#include <span>
#include <string>

namespace tidepool::bench::compare {

/// One update by the seed system, as published with the task: measured elsewhere, another machine.
inline constexpr double seed_ns_per_id = 222;

[[nodiscard]] std::string to_table(std::span<const row> rows);
/// An array of objects {case, pattern, size, threads, touch, unit, ours, ours_min, best_peer, best,
/// best_min, ratio}; keys of later versions are added at their ends.
[[nodiscard]] std::string to_json(std::span<const row> rows);

}  // namespace tidepool::bench::compare
