// SPDX-License-Identifier: Apache-2.0
//
// replay: what happens around one.
#include "tidepool/commands.hpp"
#include "tidepool/machine.hpp"
#include "tidepool/quantity.hpp"
#include "tidepool/replay/plan.hpp"
#include "tidepool/replay/report.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <utility>

namespace tidepool::bench {
namespace {

exit_code write_json(const std::string& path, const replay_report& report) {
  if (path == "-") {
    std::printf("%s\n", replay_json(report).c_str());
    return exit_code::ok;
  }
  std::ofstream file(path);
  file << replay_json(report) << '\n';
  file.close();
  return file ? exit_code::ok : report_failure(path + ": cannot be written");
}

/// Settings that devices without host access force.
void adapt_to_device(replay_settings& settings) {
  if (!settings.where.is_host()) {
    settings.touch = touch_mode::none;
    settings.peers = false;
  }
}

}  // namespace

exit_code replay_trace(const replay_request& request) {
  replay_settings settings = request.settings;
  adapt_to_device(settings);
  // Format version 1 of the JSON promises null for the reads of a trace from standard input.
  const bool has_accesses = request.trace != "-";
  trace::result<replay_plan> plan = decode(
      request.trace, {.threads = settings.copies == 0 ? thread_use::by_trace : thread_use::one,
                      .keep_sizes = settings.prewarm == prewarm_mode::trace,
                      .keep_accesses = has_accesses});
  if (!plan) {
    return report_bad_trace(request.trace, plan.error());
  }
  if (plan->operations == 0) {
    return report_failure(request.trace + ": has no allocation to replay");
  }
  if (plan->threads.size() == 1) {
    // The trace has one thread, so its own thread and one copy are the same.
    settings.copies = std::max(settings.copies, 1U);
  }
  const replay_outcome outcome = run_replay(*plan, settings);
  if (!outcome.figures) {
    return report_failure(outcome.failure.reason);
  }
  replay_figures figures = *outcome.figures;
  if (has_accesses) {
    trace::result<access_figures> reads = replay_accesses(*plan, settings.warm_passes);
    if (!reads) {
      return report_bad_trace(request.trace, reads.error());
    }
    figures.accesses = std::move(*reads);
  }
  const replay_report report{.trace = request.trace,
                             .plan = *plan,
                             .settings = settings,
                             .figures = std::move(figures),
                             .machine = this_machine()};
  if (request.json != "-") {
    std::printf("%s", replay_table(report).c_str());
  }
  if (!request.json.empty()) {
    if (const exit_code written = write_json(request.json, report); written != exit_code::ok) {
      return written;
    }
  }
  if (outcome.figures->misuses != 0 || outcome.figures->leaked != 0) {
    return report_failure("the pool reported " + count_text(outcome.figures->misuses) +
                          " misuses and holds " + count_text(outcome.figures->leaked) +
                          " tensors after all were freed: this is a defect of tidepool");
  }
  return exit_code::ok;
}

}  // namespace tidepool::bench
