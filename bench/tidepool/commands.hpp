// SPDX-License-Identifier: Apache-2.0
//
// The commands of the program `tidepool`, as functions. How the command line names them is known to
// arguments.cpp alone. All print to standard output and say on stderr what went wrong.
#pragma once

#include "tidepool/replay/run.hpp"

#include <string>
#include <vector>

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

// Paths may be "-": standard input, or standard output.

struct replay_request {
  std::string trace;
  std::string json;  ///< where the figures go too; empty: nowhere, "-": standard output, alone
  replay_settings settings;
};
exit_code replay_trace(const replay_request& request);

struct compare_request {
  std::vector<std::string> cases;  ///< empty: all
  std::string json;                ///< as above
  bool quick = false;
  bool progress = false;
};
exit_code compare_cases(const compare_request& request);
/// The names of all cases.
std::vector<std::string> comparison_names();

/// info without a trace, and with one.
exit_code print_machine();
exit_code print_trace(const std::string& path, bool is_json);
exit_code print_prewarm_plan(const std::string& path);

exit_code validate_trace(const std::string& path);
/// One line for each event: for people, or the text form that pack reads.
exit_code dump_trace(const std::string& path, bool is_json);
/// Makes a trace of its text form.
exit_code pack_trace(const std::string& from, const std::string& to);

/// Says on stderr what is wrong with a trace.
exit_code report_bad_trace(const std::string& path, const trace::error& why);
/// Says on stderr why a command failed.
exit_code report_failure(const std::string& reason);

}  // namespace tidepool::bench
