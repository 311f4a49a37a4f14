// SPDX-License-Identifier: Apache-2.0
//
// info: what the program and the machine are, or what a trace consists of; and prewarm-plan, which
// prints what a pool could make ready for a trace.
#include "tidepool/commands.hpp"
#include "tidepool/machine.hpp"
#include "tidepool/quantity.hpp"
#include "tidepool/replay/make_pool.hpp"
#include "tidepool/replay/plan.hpp"
#include "trace/summary.hpp"
#include <tidepool/prewarm.hpp>
#include <tidepool/version.hpp>

#include <cstdio>

namespace tidepool::bench {
namespace {

/// One line for the device, whether it is there or not.
void print_device(device where) {
  const result<pool> made = make_pool({.where = where});
  if (!made) {
    std::printf("  %-8s not available: %s\n", device_text(where).c_str(),
                to_string(made.error()).c_str());
    return;
  }
  for (const device_description& each : made->devices()) {
    std::printf("  %-8s %.*s, %s, alignment %zu%s\n", device_text(each.where).c_str(),
                static_cast<int>(each.name.size()), each.name.data(),
                each.total_bytes == 0 ? "size unknown" : bytes_text(each.total_bytes).c_str(),
                each.alignment, each.stream_ordered ? ", stream-ordered" : "");
  }
}

}  // namespace

exit_code print_machine() {
  const machine here = this_machine();
  std::printf("tidepool %s, %s, %s\n", version(), here.compiler.c_str(), here.build_type.c_str());
  std::printf("devices\n");
  print_device(device::cpu());
  print_device(device::cuda(0));
  std::printf("machine\n");
  std::printf("  cpu      %s, %u cores\n", here.cpu.c_str(), here.cores);
  std::printf("  memory   %s, %s available\n", bytes_text(here.memory_bytes).c_str(),
              bytes_text(available_memory_bytes()).c_str());
  std::printf("  pages    %s, transparent huge pages: %s\n", bytes_text(here.page_bytes).c_str(),
              here.huge_pages.empty() ? "unknown" : here.huge_pages.c_str());
  std::printf("  kernel   %s, load %s\n", here.kernel.c_str(), figure_text(here.load).c_str());
  return exit_code::ok;
}

exit_code print_trace(const std::string& path, bool is_json) {
  trace::result<trace::reader> input = trace::reader::open(path);
  if (!input) {
    return report_bad_trace(path, input.error());
  }
  const trace::result<trace::summary> figures = trace::summarize(*input);
  if (!figures) {
    return report_bad_trace(path, figures.error());
  }
  std::printf("%s\n",
              is_json ? trace::to_json(*figures).c_str() : trace::to_text(*figures).c_str());
  return exit_code::ok;
}

exit_code print_prewarm_plan(const std::string& path) {
  const trace::result<replay_plan> plan = decode(path, {.keep_sizes = true});
  if (!plan) {
    return report_bad_trace(path, plan.error());
  }
  const prewarm_plan prewarm = prewarm_plan::from_sizes(plan->sizes);
  std::printf("%14s %10s %14s\n", "block", "count", "together");
  for (const prewarm_item& item : prewarm.items) {
    std::printf("%14s %10zu %14s\n", bytes_text(item.bytes).c_str(), item.count,
                bytes_text(std::uint64_t{item.bytes} * item.count).c_str());
  }
  std::printf("%14s %10s %14s; peak live %s\n", "all", "",
              bytes_text(prewarm.total_bytes()).c_str(), bytes_text(plan->peak_live_bytes).c_str());
  return exit_code::ok;
}

}  // namespace tidepool::bench
