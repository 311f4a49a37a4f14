// SPDX-License-Identifier: Apache-2.0
//
// The program `tidepool`: replays recorded allocation traces through a pool, and looks into traces.
// Exit codes: 0 ok, 1 the command failed, 2 wrong usage, 3 bad trace.
#include "commands.hpp"
#include "trace/error.hpp"
#include <tidepool/version.hpp>

#include <cstdio>
#include <exception>

namespace tidepool::bench {

exit_code report_bad_trace(const std::string& path, const trace::error& why) {
  std::fprintf(stderr, "tidepool: %s: %s\n", path.c_str(), why.message().c_str());
  return exit_code::bad_trace;
}

exit_code report_failure(const std::string& reason) {
  std::fprintf(stderr, "tidepool: %s\n", reason.c_str());
  return exit_code::failed;
}

namespace {

exit_code run_program(int argc, char** argv) {
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
  return run ? run() : exit_code::usage;
}

}  // namespace
}  // namespace tidepool::bench

int main(int argc, char** argv) {
  try {
    return static_cast<int>(tidepool::bench::run_program(argc, argv));
  } catch (const std::exception& failure) {
    return static_cast<int>(tidepool::bench::report_failure(failure.what()));
  }
}
