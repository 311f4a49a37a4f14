// SPDX-License-Identifier: Apache-2.0
//
// Commands, their options and help. The only file that knows CLI11, which takes as long to compile
// as the rest of the program.
#include "tidepool/arguments.hpp"

#include "tidepool/quantity.hpp"
#include "tidepool/replay/report.hpp"
#include <tidepool/version.hpp>

#include <CLI/CLI.hpp>

#include <unistd.h>

#include <memory>

namespace tidepool::bench {
namespace {

/// What a command line says of a replay.
struct replay_words {
  replay_request request;
  std::string limit;
  std::string device_name = "cpu";
  std::string touch = "none";
  std::string prewarm = "none";
  bool no_peers = false;
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

/// Turns words, already checked, into settings.
replay_request complete(const replay_words& words) {
  replay_request request = words.request;
  replay_settings& settings = request.settings;
  settings.limit_bytes = parse_bytes(words.limit).value_or(SIZE_MAX);
  settings.where = parse_device(words.device_name).value_or(device::cpu());
  settings.peers = !words.no_peers;
  settings.progress = isatty(STDERR_FILENO) != 0;
  for (const touch_mode each : {touch_mode::none, touch_mode::line, touch_mode::all}) {
    if (words.touch == touch_text(each)) {
      settings.touch = each;
    }
  }
  for (const prewarm_mode each : {prewarm_mode::none, prewarm_mode::seed, prewarm_mode::trace}) {
    if (words.prewarm == prewarm_text(each)) {
      settings.prewarm = each;
    }
  }
  return request;
}

void add_replay_options(CLI::App& self, replay_words& words) {
  replay_settings& settings = words.request.settings;
  self.add_option("trace", words.request.trace, "The trace; - reads standard input")->required();
  self.add_option("--touch", words.touch,
                  "What is written to: none, the first line of each allocation, or one byte of "
                  "each 4 KiB of it (all). Default: none")
      ->check(CLI::IsMember({"none", "line", "all"}));
  self.add_option("--threads", settings.copies,
                  "Threads that each replay a copy of the trace. Default: the trace's own threads")
      ->check(CLI::Range(1U, 256U));
  self.add_option("--limit", words.limit,
                  "Limit of the pool, e.g. 8GiB; what does not fit is counted as failed")
      ->check(check_bytes);
  self.add_option("--device", words.device_name,
                  "Where all tensors go: cpu, cpu:<node>, cuda[:<n>], pinned:<n>, managed:<n>. "
                  "Default: cpu. cuda leaves the peers out and writes nothing")
      ->check(check_device);
  self.add_option("--json", words.request.json,
                  "Writes the figures to this file too; - writes only them, to standard output");
  self.add_option("--passes", settings.warm_passes,
                  "Warm passes of each contestant, after a cold one. Default: 5")
      ->check(CLI::Range(1U, 10000U));
  self.add_option("--chunk", settings.chunk,
                  "Operations between two readings of the clock. Default: 128")
      ->check(CLI::Range(1U, 1U << 20));
  self.add_option("--prewarm", words.prewarm,
                  "Blocks made ready before the first pass: none, the seed's plan, or what the "
                  "trace needs. Default: none")
      ->check(CLI::IsMember({"none", "seed", "trace"}));
  self.add_flag("--no-peers", words.no_peers, "Replays through tidepool only");
}

void add_replay(CLI::App& program, command& run) {
  CLI::App* const self = program.add_subcommand(
      "replay", "Replays a recorded trace through tidepool, malloc and a naive pool");
  self->footer(
      "Allocations and frees are replayed, an operation is one of them; on CUDA\n"
      "devices on the streams of the trace. Then, in passes of their own, the trace's reads\n"
      "through access_tracker::record.");
  const auto words = std::make_shared<replay_words>();
  add_replay_options(*self, *words);
  self->callback(
      [words, &run] { run = [request = complete(*words)] { return replay_trace(request); }; });
}

void add_info(CLI::App& program, command& run) {
  CLI::App* const self =
      program.add_subcommand("info", "Prints version, devices and machine, or a trace's summary");
  const auto path = std::make_shared<std::string>();
  const auto is_json = std::make_shared<bool>(false);
  CLI::Option* const file = self->add_option("trace", *path, "The trace; - reads standard input");
  self->add_flag("--json", *is_json, "The summary as one JSON object")->needs(file);
  self->callback([path, is_json, &run] {
    run = [path, is_json] {
      return path->empty() ? print_machine() : print_trace(*path, *is_json);
    };
  });
}

void add_validate(CLI::App& program, command& run) {
  CLI::App* const self = program.add_subcommand("validate", "Says whether a trace makes sense");
  const auto path = std::make_shared<std::string>();
  self->add_option("trace", *path, "The trace; - reads standard input")->required();
  self->callback([path, &run] { run = [path] { return validate_trace(*path); }; });
}

void add_dump(CLI::App& program, command& run) {
  CLI::App* const self = program.add_subcommand("dump", "Prints a trace's events, one a line");
  const auto path = std::make_shared<std::string>();
  const auto is_json = std::make_shared<bool>(false);
  self->add_option("trace", *path, "The trace; - reads standard input")->required();
  self->add_flag("--json-lines", *is_json, "Prints the complete text form, which pack reads");
  self->callback(
      [path, is_json, &run] { run = [path, is_json] { return dump_trace(*path, *is_json); }; });
}

void add_pack(CLI::App& program, command& run) {
  CLI::App* const self = program.add_subcommand("pack", "Makes a trace of its text form");
  const auto from = std::make_shared<std::string>();
  const auto to = std::make_shared<std::string>();
  self->add_option("input", *from, "JSON lines; - reads standard input")->required();
  self->add_option("output", *to, "The trace to write; - writes standard output")->required();
  self->callback([from, to, &run] { run = [from, to] { return pack_trace(*from, *to); }; });
}

void add_prewarm_plan(CLI::App& program, command& run) {
  CLI::App* const self = program.add_subcommand(
      "prewarm-plan", "Prints the blocks that a pool would make ready for a trace");
  const auto path = std::make_shared<std::string>();
  self->add_option("trace", *path, "The trace; - reads standard input")->required();
  self->callback([path, &run] { run = [path] { return print_prewarm_plan(*path); }; });
}

void add_compare(CLI::App& program, command& run) {
  CLI::App* const self =
      program.add_subcommand("compare", "Measures batches of accesses beside their rivals");
  self->footer("Cases: D1, D2 small tables; D3 1e5 and D4 1e7 entries; D5 two threads; D6 keys; "
               "D7 tensor ids.\nThe method: bench/README.md.");
  const auto request = std::make_shared<compare_request>();
  self->add_option("--case", request->cases, "Cases to run, e.g. D1,D5. Default: all")
      ->delimiter(',')
      ->check(CLI::IsMember(comparison_names()));
  self->add_flag("--quick", request->quick, "Small tables and few repetitions: does it run?");
  self->add_option("--json", request->json,
                   "Writes the rows to this file too; - writes only them, to standard output");
  self->callback([request, &run] {
    request->progress = isatty(STDERR_FILENO) != 0;
    run = [request] { return compare_cases(*request); };
  });
}

}  // namespace

std::variant<command, exit_code> parse_arguments(int argc, char** argv) {
  CLI::App program(
      "Replays recorded allocation traces through a tidepool memory pool, beside malloc "
      "and a naive pool, and looks into traces.",
      "tidepool");
  program.set_version_flag("--version", version());
  program.require_subcommand(1);
  program.footer("Exit codes: 0 ok, 1 the command failed, 2 wrong usage, 3 bad trace.\n"
                 "Traces: bench/trace/README.md; the method of replay: bench/README.md.");
  command run;
  add_replay(program, run);
  add_compare(program, run);
  add_info(program, run);
  add_validate(program, run);
  add_dump(program, run);
  add_pack(program, run);
  add_prewarm_plan(program, run);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return program.exit(problem) == 0 ? exit_code::ok : exit_code::usage;
  }
  return run;
}

}  // namespace tidepool::bench
