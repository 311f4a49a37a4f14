// SPDX-License-Identifier: Apache-2.0
//
// What the program has made and not destroyed, each thing in one report, with the call that made it
// and what it was last used for.
#include "runtime/runtime.hpp"

#include <algorithm>
#include <utility>

namespace cudasim {
namespace {

std::string made_by(const std::string& call) {
  return ", made by " + call + " and never destroyed";
}

std::string last_use(const operation_ptr& last) {
  return last == nullptr ? ", never used" : "; its last use: " + last->who.describe();
}

std::string describe(const graph& of) {
  std::string text = std::to_string(of.nodes.size()) + " nodes";
  constexpr std::size_t named = 3;
  for (std::size_t i = 0; i < std::min(named, of.nodes.size()); ++i) {
    text += (i == 0 ? ": " : ", ") + of.nodes[i]->name;
  }
  return text + (of.nodes.size() > named ? ", ..." : "");
}

}  // namespace

// Once for each thing, so that a test that has expected it is not told again at the end.
void runtime::add_leak(bool& is_reported, const std::string& text) {
  if (!std::exchange(is_reported, true)) {
    findings.add(finding::leak, text);
  }
}

void runtime::leak_report() {
  for (const auto& [base, kept] : memory.all_issued()) {
    if (!kept->is_program) {
      add_leak(kept->leak_reported, kept->describe() + kept->history());
    }
  }
  for (const auto& kept : streams) {
    if (!kept->created_by.empty() && !kept->destroyed) {
      add_leak(kept->leak_reported, "stream " + std::to_string(kept->index) + " of device " +
                                        std::to_string(kept->device) + made_by(kept->created_by) +
                                        last_use(kept->last));
    }
  }
  for (event* const kept : events) {
    add_leak(kept->leak_reported, "event" + made_by(kept->created_by) + last_use(kept->recorded));
  }
  for (const auto& [handle, kept] : graphs) {
    add_leak(kept->leak_reported, "graph of " + describe(*kept) + made_by(kept->created_by));
  }
  for (const auto& [handle, kept] : executable_graphs) {
    add_leak(kept->leak_reported,
             "executable graph of " + describe(*kept) + made_by(kept->created_by));
  }
  for (const auto& [handle, kept] : pools) {
    if (!kept->created_by.empty() && !kept->destroyed) {
      add_leak(kept->leak_reported, "pool of device " + std::to_string(kept->made_with().device) +
                                        ", " + std::to_string(kept->reserved) + " bytes reserved" +
                                        made_by(kept->created_by));
    }
  }
}

}  // namespace cudasim
