// SPDX-License-Identifier: Apache-2.0
//
// A replay's figures as a table for people and as JSON for programs.
#pragma once

#include "tidepool/machine.hpp"
#include "tidepool/replay/plan.hpp"
#include "tidepool/replay/run.hpp"

#include <string>

namespace tidepool::bench {

struct replay_report {
  static constexpr int format_version = 1;
  std::string trace;  ///< its path, as given
  const replay_plan& plan;
  replay_settings settings;
  replay_figures figures;
  bench::machine machine;
};

/// One table, a column for each contestant.
[[nodiscard]] std::string replay_table(const replay_report& report);
/// One object. Keys of later versions are added at the end; see bench/README.md.
[[nodiscard]] std::string replay_json(const replay_report& report);

[[nodiscard]] const char* touch_text(touch_mode touch) noexcept;
[[nodiscard]] const char* prewarm_text(prewarm_mode prewarm) noexcept;

}  // namespace tidepool::bench
