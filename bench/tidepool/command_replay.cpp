// SPDX-License-Identifier: Apache-2.0
//
// replay: the options, and what happens around a replay.
#include "commands.hpp"
#include "machine.hpp"
#include "quantity.hpp"
#include "replay_plan.hpp"
#include "replay_report.hpp"
#include "replay_run.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>

namespace tidepool::bench {
namespace {

struct replay_command {
  std::string path;
  std::string json_path;
  std::string limit;
  std::string device_name = "cpu";
  std::string touch = "none";
  std::string prewarm = "none";
  bool no_peers = false;
  replay_settings settings;
};

/// Sizes and devices are checked while the command line is read, so that mistakes are usage errors.
std::string check_bytes(const std::string& text) {
  return parse_bytes(text).value_or(0) != 0
             ? std::string{}
             : "'" + text + "' is not a size; write for instance 512MiB or 8GiB";
}
std::string check_device(const std::string& text) {
  return parse_device(text) ? std::string{}
                            : "'" + text +
                                  "' is not a device; write cpu, cpu:0, cuda:0, pinned:0 "
                                  "or managed:0";
}

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

exit_code run(const replay_command& chosen) {
  replay_settings settings = chosen.settings;
  adapt_to_device(settings);
  trace::result<replay_plan> plan =
      decode(chosen.path, {.threads = settings.copies == 0 ? thread_use::by_trace : thread_use::one,
                           .keep_sizes = settings.prewarm == prewarm_mode::trace});
  if (!plan) {
    return report_bad_trace(chosen.path, plan.error());
  }
  if (plan->operations == 0) {
    return report_failure(chosen.path + ": has no allocation to replay");
  }
  if (plan->threads.size() == 1) {
    // One thread either way.
    settings.copies = std::max(settings.copies, 1U);
  }
  const replay_outcome outcome = run_replay(*plan, settings);
  if (!outcome.figures) {
    return report_failure(outcome.failure.reason);
  }
  const replay_report report{.trace = chosen.path,
                             .plan = *plan,
                             .settings = settings,
                             .figures = *outcome.figures,
                             .machine = this_machine()};
  if (chosen.json_path != "-") {
    std::printf("%s", replay_table(report).c_str());
  }
  if (!chosen.json_path.empty()) {
    if (const exit_code written = write_json(chosen.json_path, report); written != exit_code::ok) {
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

/// Turns the words of the command line, already checked, into settings.
void complete(replay_command& chosen) {
  replay_settings& settings = chosen.settings;
  settings.limit_bytes = parse_bytes(chosen.limit).value_or(SIZE_MAX);
  settings.where = parse_device(chosen.device_name).value_or(device::cpu());
  settings.peers = !chosen.no_peers;
  settings.progress = isatty(STDERR_FILENO) != 0;
  for (const touch_mode each : {touch_mode::none, touch_mode::line, touch_mode::all}) {
    if (chosen.touch == touch_text(each)) {
      settings.touch = each;
    }
  }
  for (const prewarm_mode each : {prewarm_mode::none, prewarm_mode::seed, prewarm_mode::trace}) {
    if (chosen.prewarm == prewarm_text(each)) {
      settings.prewarm = each;
    }
  }
}

void add_options(CLI::App& self, replay_command& chosen) {
  replay_settings& settings = chosen.settings;
  self.add_option("trace", chosen.path, "The trace; - reads standard input")->required();
  self.add_option("--touch", chosen.touch,
                  "What is written to: none, the first line of each allocation, or one byte of "
                  "each 4 KiB of it (all). Default: none")
      ->check(CLI::IsMember({"none", "line", "all"}));
  self.add_option("--threads", settings.copies,
                  "Threads that each replay a copy of the trace. Default: the trace's own threads")
      ->check(CLI::Range(1U, 256U));
  self.add_option("--limit", chosen.limit,
                  "Limit of the pool, e.g. 8GiB; what does not fit is counted as failed")
      ->check(check_bytes);
  self.add_option("--device", chosen.device_name,
                  "Where all tensors go: cpu, cpu:<node>, cuda:<n>, pinned:<n>, managed:<n>. "
                  "Default: cpu")
      ->check(check_device);
  self.add_option("--json", chosen.json_path,
                  "Writes the figures to this file too; - writes only them, to standard output");
  self.add_option("--passes", settings.warm_passes,
                  "Warm passes of each contestant, after a cold one. Default: 5")
      ->check(CLI::Range(1U, 10000U));
  self.add_option("--chunk", settings.chunk,
                  "Operations between two readings of the clock. Default: 128")
      ->check(CLI::Range(1U, 1U << 20));
  self.add_option("--prewarm", chosen.prewarm,
                  "Blocks made ready before the first pass: none, the seed's plan, or what the "
                  "trace needs. Default: none")
      ->check(CLI::IsMember({"none", "seed", "trace"}));
  self.add_flag("--no-peers", chosen.no_peers, "Replays through tidepool only");
}

}  // namespace

void add_replay(CLI::App& program, command& run_command) {
  CLI::App* const self = program.add_subcommand(
      "replay", "Replays a recorded trace through tidepool, malloc and a naive pool");
  self->footer("Touches and marks of the trace are not replayed, only its allocations and frees.\n"
               "An operation is one allocation or one free.");
  const auto chosen = std::make_shared<replay_command>();
  add_options(*self, *chosen);
  self->callback([chosen, &run_command] {
    complete(*chosen);
    run_command = [chosen] { return run(*chosen); };
  });
}

}  // namespace tidepool::bench
