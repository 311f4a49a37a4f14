// SPDX-License-Identifier: Apache-2.0
//
// The table and the JSON.
#include "compare/report.hpp"

#include <nlohmann/json.hpp>

#include <cstdarg>
#include <cstdio>

namespace tidepool::bench::compare {

namespace {

[[gnu::format(printf, 1, 2)]] std::string format(const char* text, ...) {
  char out[256];
  va_list arguments;
  va_start(arguments, text);
  std::vsnprintf(out, sizeof(out), text, arguments);
  va_end(arguments);
  return out;
}

}  // namespace

std::string to_table(std::span<const row> rows) {
  std::string text =
      format("%-4s %-54s %9s %2s %8s %8s %-26s %8s %8s %6s %6s %6s\n", "case", "pattern", "size",
             "th", "ours", "least", "rival", "rival's", "least", "ratio", "least", "target");
  for (const row& r : rows) {
    text += format("%-4s %-54.54s %9zu %2u %8.3f %8.3f %-26.26s %8.3f %8.3f %6.3f %6.3f ",
                   r.name.c_str(), r.pattern.c_str(), r.size, r.threads, r.ours, r.ours_min,
                   r.best_peer.c_str(), r.best, r.best_min, r.ratio, r.ratio_min());
    text += r.target == 0 ? format("%6s\n", "-")
                          : format("%6.2f%s\n", r.target, r.is_met() ? "" : " missed");
  }
  text += format("Times: ns per id, median and least. The seed system needed %.0f ns per id, on "
                 "another machine.\n",
                 seed_ns_per_id);
  return text;
}

std::string to_json(std::span<const row> rows) {
  using json = nlohmann::ordered_json;
  json all = json::array();
  for (const row& r : rows) {
    all.push_back({{"case", r.name},
                   {"pattern", r.pattern},
                   {"size", r.size},
                   {"threads", r.threads},
                   {"touch", r.touch},
                   {"unit", r.unit},
                   {"ours", r.ours},
                   {"ours_min", r.ours_min},
                   {"best_peer", r.best_peer},
                   {"best", r.best},
                   {"best_min", r.best_min},
                   {"ratio", r.ratio},
                   {"ratio_min", r.ratio_min()},
                   {"target", r.target == 0 ? json(nullptr) : json(r.target)},
                   {"met", r.is_met()},
                   {"seed_ns_per_id", seed_ns_per_id}});
  }
  return all.dump(2);
}

}  // namespace tidepool::bench::compare
