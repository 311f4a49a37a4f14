// SPDX-License-Identifier: Apache-2.0
//
// Runs this program again for one probe, with a time limit: what happened, and what it printed.
#pragma once

#include <string>

namespace tidepool::first_run {

struct child_end {
  std::string printed;  // on its standard output
  double seconds = 0;
  bool is_hang = false;  // it was killed at the time limit
  int signal = 0;        // it was ended by
  int status = 0;        // else its exit status
};
[[nodiscard]] child_end run_child(const std::string& probe_name, double limit_seconds);

}  // namespace tidepool::first_run
