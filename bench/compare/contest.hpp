// SPDX-License-Identifier: Apache-2.0
//
// A contest: tidepool and its rivals do the same work in turn, many times. Between two repetitions
// the order changes, so that what else the machine does hits all of them; a ratio is the median of
// the ratios within each repetition, and the least times stand beside.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace tidepool::bench::compare {

struct contestant {
  std::string name;
  std::function<void()> run;  ///< the work, once
  double target = 0;          ///< of a rival: ours / its time is to be at most this; 0: no target
};

struct contest {
  std::string name;     ///< of the case: "D1"
  std::string pattern;  ///< what the work is made of
  std::size_t size = 0;
  unsigned threads = 1;
  std::string touch = "none";
  std::string unit = "ns/id";
  double units = 1;  ///< in one run, of each thread
  contestant ours;
  std::vector<contestant> rivals;
};

/// One rival's figures beside ours; times are ns per unit.
struct row {
  std::string name;
  std::string pattern;
  std::size_t size = 0;
  unsigned threads = 1;
  std::string touch;
  std::string unit;
  double ours = 0;
  double ours_min = 0;
  std::string best_peer;
  double best = 0;
  double best_min = 0;
  double ratio = 0;
  double target = 0;

  [[nodiscard]] double ratio_min() const noexcept {
    return best_min == 0 ? 0 : ours_min / best_min;
  }
  /// By both ratios, or there is no target.
  [[nodiscard]] bool is_met() const noexcept {
    return target == 0 || (ratio <= target && ratio_min() <= target);
  }
};

struct effort {
  unsigned repetitions = 15;
  double run_ms = 4;  ///< of one contestant in one repetition, at least
};

/// A row for each rival. Throws what the work throws.
[[nodiscard]] std::vector<row> hold(const contest& of, const effort& how);

}  // namespace tidepool::bench::compare
