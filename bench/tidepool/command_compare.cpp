// SPDX-License-Identifier: Apache-2.0
//
// compare: runs cases and prints their rows.
#include "compare/access_cases.hpp"
#include "compare/report.hpp"
#include "tidepool/commands.hpp"
#include "tidepool/machine.hpp"
#include "tidepool/quantity.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>

namespace tidepool::bench {

std::vector<std::string> comparison_names() {
  std::vector<std::string> names;
  for (const compare::comparison_case& each : compare::all_cases()) {
    names.emplace_back(each.name);
  }
  return names;
}

exit_code compare_cases(const compare_request& request) {
  compare::case_settings settings{.quick = request.quick};
  if (request.quick) {
    settings.how = {.repetitions = 5, .run_ms = 0.5};
  }
  if (request.progress) {
    settings.progress = [](const std::string& next) {
      std::fprintf(stderr, "\r\x1b[K%s", next.c_str());
    };
  }
  std::vector<compare::row> rows;
  for (const compare::comparison_case& each : compare::all_cases()) {
    const auto& asked = request.cases;
    if (!asked.empty() && std::find(asked.begin(), asked.end(), each.name) == asked.end()) {
      continue;
    }
    for (compare::row& row : each.run(settings)) {
      rows.push_back(std::move(row));
    }
  }
  if (request.progress) {
    std::fprintf(stderr, "\r\x1b[K");
  }
  const std::string json = compare::to_json(rows);
  if (request.json == "-") {
    std::printf("%s\n", json.c_str());
    return exit_code::ok;
  }
  const machine here = this_machine();
  std::printf("%s, %u cores, load %s, %s\n%s", here.cpu.c_str(), here.cores,
              figure_text(here.load).c_str(), here.build_type.c_str(),
              compare::to_table(rows).c_str());
  if (!request.json.empty()) {
    std::ofstream file(request.json);
    file << json << '\n';
    file.close();
    if (!file) {
      return report_failure(request.json + ": cannot be written");
    }
  }
  return exit_code::ok;
}

}  // namespace tidepool::bench
