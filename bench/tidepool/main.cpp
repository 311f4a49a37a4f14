// SPDX-License-Identifier: Apache-2.0
//
// The program `tidepool`: replays recorded allocation traces through a pool, and looks into traces.
// Exit codes: 0 ok, 1 the command failed, 2 wrong usage, 3 bad trace.
#include "tidepool/arguments.hpp"
#include "trace/error.hpp"

#include <cstdio>
#include <exception>
#include <variant>

namespace tidepool::bench {

exit_code report_bad_trace(const std::string& path, const trace::error& why) {
  std::fprintf(stderr, "tidepool: %s: %s\n", path.c_str(), why.message().c_str());
  return exit_code::bad_trace;
}

exit_code report_failure(const std::string& reason) {
  std::fprintf(stderr, "tidepool: %s\n", reason.c_str());
  return exit_code::failed;
}

}  // namespace tidepool::bench

int main(int argc, char** argv) {
  using namespace tidepool::bench;
  try {
    const auto asked = parse_arguments(argc, argv);
    const command* const run = std::get_if<command>(&asked);
    return static_cast<int>(run != nullptr ? (*run)() : std::get<exit_code>(asked));
  } catch (const std::exception& failure) {
    return static_cast<int>(report_failure(failure.what()));
  }
}
