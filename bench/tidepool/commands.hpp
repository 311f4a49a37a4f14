// SPDX-License-Identifier: Apache-2.0
//
// The subcommands of the program `tidepool`. Each add_* function adds one to the command line; what
// runs when it was chosen is stored in `run` and answers the exit code.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>

namespace tidepool::bench::trace {
struct error;
}  // namespace tidepool::bench::trace

namespace tidepool::bench {

enum class exit_code : int {
  ok = 0,
  failed = 1,     ///< the command was understood and could not be done
  usage = 2,      ///< the command line was not understood
  bad_trace = 3,  ///< the trace is missing, damaged or makes no sense
};

using command = std::function<exit_code()>;

void add_replay(CLI::App& program, command& run);
void add_info(CLI::App& program, command& run);
void add_validate(CLI::App& program, command& run);
void add_dump(CLI::App& program, command& run);
void add_pack(CLI::App& program, command& run);
void add_prewarm_plan(CLI::App& program, command& run);

/// Says on stderr what is wrong with a trace.
exit_code report_bad_trace(const std::string& path, const trace::error& why);
/// Says on stderr why a command failed.
exit_code report_failure(const std::string& reason);

}  // namespace tidepool::bench
