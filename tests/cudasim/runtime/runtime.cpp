// SPDX-License-Identifier: Apache-2.0
//
// Start and end of the simulated runtime: devices and address spaces at the first call; leaks,
// statistics and the exit status at the end.
#include "runtime/runtime.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace cudasim {
namespace {

constexpr std::uint64_t least_space = std::uint64_t{64} << 30;
constexpr int unexpected_reports_status = 86;
bool was_used = false;

// Runs after the program's own destructors, so what they free is no leak.
[[gnu::destructor]] void end_of_process() {
  if (was_used) {
    runtime::get().stop();
  }
}

}  // namespace

runtime& runtime::get() {
  static runtime* const only = new runtime;
  return *only;
}

runtime::runtime() : set(read_settings()), random(set.seed) {
  was_used = true;
  findings.set_quiet(set.quiet);
  if (!faults.plant(set.faults)) {
    std::fprintf(stderr, "cudasim: CUDASIM_FAULTS is '%s'; it must be call:n:error, ...\n",
                 set.faults.c_str());
    std::exit(2);
  }
  const auto device_count = static_cast<std::uint64_t>(std::max(1, set.devices));
  device_space.reserve(std::max(least_space, set.memory_bytes * device_count * 4), set.hide);
  host_space.reserve(least_space, false);
  memory.poison_at_most(set.poison_bytes);
  if (set.races) {
    races.watch({device_space.base(), device_space.size(), 0}, false);
    races.watch({host_space.base(), host_space.size(), 0}, true);
  }
  if (set.races && set.host_races) {
    pages.install();
    pages.add(host_space.base(), host_space.size(), false);
  }
  host.set(-1, ++host_tick_);  // tick 0 came before everything
  set_up_devices();
  set_foreign_seed(set.foreign_captures);
  if (set.async) {
    worker_ = std::thread([this] { run_thread(); });
  }
}

void runtime::set_up_devices() {
  devices.resize(static_cast<std::size_t>(set.devices));
  for (int i = 0; i < set.devices; ++i) {
    device& made = devices[static_cast<std::size_t>(i)];
    pool::properties usual;
    usual.device = i;
    usual.location = {cudaMemLocationTypeDevice, i};
    made.default_pool = made.current_pool = &make_pool(usual);
    made.graph_pool = &make_pool(usual);
    made.graph_pool->release_threshold = ~std::uint64_t{0};
    made.legacy = &make_stream(i, 0, 0);
    made.legacy->legacy = true;
    std::erase(made.blocking, made.legacy);
  }
}

void runtime::stop() {
  {
    const std::lock_guard guard(lock);
    stopping_ = true;
  }
  changed.notify_all();
  if (worker_.joinable()) {
    worker_.join();
  }
  note_host_accesses();
  pages.open();
  if (set.leaks && sticky == cudaSuccess) {
    leak_report();
  }
  if (set.statistics) {
    launch_counts sum;
    for (const auto& [name, of] : counts.kernels) {
      sum.thread_instructions += of.done.thread_instructions;
    }
    const double millions = static_cast<double>(sum.thread_instructions) * 1e-6;
    std::fprintf(stderr, "cudasim: %llu launches, %.1f M thread-instructions, %.3f s in kernels\n",
                 static_cast<unsigned long long>(counts.launches), millions, counts.kernel_seconds);
  }
  const std::uint64_t unexpected = findings.untaken();
  if (unexpected != 0 && set.fail) {
    std::fprintf(stderr, "cudasim: %llu reports that no test expected: exit status %d\n",
                 static_cast<unsigned long long>(unexpected), unexpected_reports_status);
    std::fflush(nullptr);
    _exit(unexpected_reports_status);
  }
}

}  // namespace cudasim
