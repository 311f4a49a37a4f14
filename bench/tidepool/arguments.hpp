// SPDX-License-Identifier: Apache-2.0
//
// The command line of the program `tidepool`.
#pragma once

#include "tidepool/commands.hpp"

#include <functional>
#include <variant>

namespace tidepool::bench {

using command = std::function<exit_code()>;

/// The command that the line asks for; or the exit code, once help, the version or what is wrong
/// with the line was printed.
[[nodiscard]] std::variant<command, exit_code> parse_arguments(int argc, char** argv);

}  // namespace tidepool::bench
