// SPDX-License-Identifier: Apache-2.0
//
// Runs grids: blocks start in the order of their index. Without a seed they run one after another
// (or on several host threads); with one, and in cooperative launches, several are resident and
// take turns.
#include "machine/block_memory.hpp"
#include "machine/warp_runner.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace cudasim {
namespace {

constexpr std::uint64_t warp_budget = 50000;     // instructions, before the block's other warps run
constexpr std::uint64_t resident_budget = 1000;  // of blocks that take turns: they may spin
constexpr std::uint64_t memory_slack = 4096;
constexpr int uninitialised_shared = 0xCD;

std::uint32_t special_value(special which, const launch& of, const warp& w, std::uint32_t lane) {
  const extent& threads = of.block;
  const extent& index = w.home->index;
  const std::uint32_t thread = w.index * lane_count + lane;
  const auto workspace = reinterpret_cast<std::uint64_t>(of.workspace.data());
  const std::uint32_t below = (1u << lane) - 1;
  switch (which) {
  case special::tid_x:
    return thread % threads.x;
  case special::tid_y:
    return thread / threads.x % threads.y;
  case special::tid_z:
    return thread / (threads.x * threads.y);
  case special::ntid_x:
    return threads.x;
  case special::ntid_y:
    return threads.y;
  case special::ntid_z:
    return threads.z;
  case special::ctaid_x:
    return index.x;
  case special::ctaid_y:
    return index.y;
  case special::ctaid_z:
    return index.z;
  case special::nctaid_x:
    return of.grid.x;
  case special::nctaid_y:
    return of.grid.y;
  case special::nctaid_z:
    return of.grid.z;
  case special::laneid:
    return lane;
  case special::warpid:
    return w.index;
  case special::nwarpid:
    return 64;
  case special::smid:
    return 0;
  case special::nsmid:
    return 108;
  case special::gridid:
    return static_cast<std::uint32_t>(of.serial);
  case special::lanemask_eq:
    return 1u << lane;
  case special::lanemask_lt:
    return below;
  case special::lanemask_le:
    return below | 1u << lane;
  case special::lanemask_gt:
    return ~(below | 1u << lane);
  case special::lanemask_ge:
    return ~below;
  case special::dynamic_shared:
    return of.dynamic_shared;
  case special::total_shared:
    return of.code->shared_bytes + of.dynamic_shared;
  case special::workspace_high:
    return of.cooperative ? static_cast<std::uint32_t>(workspace >> 32) : 0;
  case special::workspace_low:
    return of.cooperative ? static_cast<std::uint32_t>(workspace) : 0;
  }
  return 0;
}

void set_up_warp(const launch& of, block& home, std::uint32_t index, char* registers) {
  warp& w = home.warps[index];
  w.base = {registers, const_cast<char*>(of.code->constants.data())};
  w.home = &home;
  w.index = index;
  w.carry = 0;
  w.rotation = 0;
  w.done = w.blocked = false;
  const std::uint64_t threads = of.block.count() - std::uint64_t{index} * lane_count;
  w.live = threads >= lane_count ? all_lanes : (lane_mask{1} << threads) - 1;
  w.groups.assign(1, {0, w.live, warp::state::running});
  for (const auto& [which, offset] : of.code->specials) {
    auto* const lanes = reinterpret_cast<std::uint32_t*>(registers + offset);
    for (std::uint32_t l = 0; l != lane_count; ++l) {
      lanes[l] = special_value(which, of, w, l);
    }
  }
}

void set_up_block(const launch& of, block& made, std::uint64_t index, block_memory& memory,
                  race_checker* races) {
  const kernel& code = *of.code;
  const std::uint64_t warps = (of.block.count() + lane_count - 1) / lane_count;
  const std::uint64_t register_bytes = align_up(code.register_bytes * warps, 1024);
  made.shared_bytes = code.shared_bytes + of.dynamic_shared;
  const std::uint64_t shared_bytes = align_up(made.shared_bytes, 64) + 64;
  const std::uint64_t local_bytes = code.local_bytes * warps * lane_count;
  char* const data = memory.need(register_bytes + shared_bytes + local_bytes + memory_slack);
  made.of = &of;
  made.races = races;
  made.index = {static_cast<std::uint32_t>(index % of.grid.x),
                static_cast<std::uint32_t>(index / of.grid.x % of.grid.y),
                static_cast<std::uint32_t>(index / (std::uint64_t{of.grid.x} * of.grid.y))};
  made.shared = data + register_bytes;
  made.local = made.shared + shared_bytes;
  std::memset(made.shared, uninitialised_shared, made.shared_bytes);
  made.arrived.fill(0);
  made.reductions.fill({});
  made.warps.resize(warps);
  for (std::uint32_t i = 0; i != warps; ++i) {
    set_up_warp(of, made, i, data + std::uint64_t{code.register_bytes} * i);
  }
}

void give_result(const warp& w, const warp::group& g, const block::reduction& total) {
  if (g.result == no_place) {
    return;
  }
  if (g.operation == barrier_operation::count) {
    auto* const lanes = reinterpret_cast<std::uint32_t*>(w.base[0] + (g.result >> 1));
    for (int l = 0; l < lane_count; ++l) {
      lanes[l] = ((g.mask >> l) & 1) != 0 ? total.count : lanes[l];
    }
  } else {
    auto* const p = reinterpret_cast<lane_mask*>(w.base[0] + (g.result >> 1));
    const bool value = g.operation == barrier_operation::all ? total.all : total.any;
    *p = value ? *p | g.mask : *p & ~g.mask;
  }
}

// Opens the barriers that all expected threads have reached; true if there was one. A barrier
// counts whole warps, exited lanes included.
bool open_barriers(block& home) {
  bool opened = false;
  for (std::uint32_t id = 0; id != block::barriers; ++id) {
    const auto is_at = [&](const warp::group& g) {
      return g.now == warp::state::at_barrier && g.barrier == id;
    };
    std::uint32_t here = home.arrived.at(id);
    std::uint32_t expected = 0;
    std::uint32_t alive = 0;
    bool any = false;
    for (const warp& w : home.warps) {
      alive += w.done ? 0 : lane_count;
      lane_mask waiting = 0;
      for (const warp::group& g : w.groups) {
        if (w.blocked && is_at(g)) {
          waiting |= g.mask;
          expected = std::max(expected, g.expected);
        }
      }
      if (!w.done && w.blocked && waiting == w.live) {
        here += lane_count;
        any = true;
      }
    }
    if (!any || here < (expected != 0 ? expected : alive)) {
      continue;
    }
    for (warp& w : home.warps) {
      for (warp::group& g : w.groups) {
        if (w.blocked && is_at(g)) {
          g.now = warp::state::running;
          give_result(w, g, home.reductions.at(id));
        }
      }
      const auto runs = [](const warp::group& g) { return g.now == warp::state::running; };
      w.blocked = w.blocked && std::none_of(w.groups.begin(), w.groups.end(), runs);
    }
    home.arrived.at(id) = 0;
    home.reductions.at(id) = {};
    opened = true;
  }
  return opened;
}

// True when the block has finished; false after `rounds` turns of all its warps.
bool run_block(block& home, std::uint64_t rounds, std::uint64_t budget) {
  while (rounds-- != 0) {
    bool progress = false;
    bool all_done = true;
    for (warp& w : home.warps) {
      if (!w.done && !w.blocked) {
        progress = true;
        const warp_runner::result ended = warp_runner(w).run(budget);
        w.done = ended == warp_runner::result::done;
        w.blocked = ended == warp_runner::result::blocked;
      }
      all_done &= w.done;
    }
    if (all_done) {
      return true;
    }
    if (!open_barriers(home) && !progress) {
      const warp& w = *std::find_if(home.warps.begin(), home.warps.end(),
                                    [](const warp& other) { return !other.done; });
      raise(w, home.of->code->code[w.groups[0].pc - 1], std::countr_zero(w.groups[0].mask),
            fault_code::launch_failure, finding::deadlock,
            "a barrier waits for threads that never arrive");
    }
  }
  return false;
}

// Adds up what blocks counted; all workers add to one.
class totals {
 public:
  void add(block& from) {
    const std::lock_guard guard(mutex_);
    for (warp& w : from.warps) {
      counts_.thread_instructions += w.counts.thread_instructions;
      counts_.atomics += w.counts.atomics;
      counts_.sectors_read += w.counts.sectors_read;
      counts_.sectors_written += w.counts.sectors_written;
      w.counts = {};
    }
  }
  [[nodiscard]] launch_counts get() const { return counts_; }

 private:
  std::mutex mutex_;
  launch_counts counts_;
};

class race_copy {  // each worker's own checker, or none
 public:
  explicit race_copy(const launch& of) {
    if (of.races != nullptr) {
      mine_.emplace(*of.races);
    }
  }
  race_checker* get() { return mine_ ? &*mine_ : nullptr; }

 private:
  std::optional<race_checker> mine_;
};

launch_counts execute_in_turns(const launch& of) {
  totals total;
  race_copy races(of);
  std::mt19937_64 random(of.seed);
  const std::uint64_t blocks = of.grid.count();
  const std::uint64_t window =
      of.cooperative ? blocks : std::min<std::uint64_t>(blocks, 2 + random() % 5);
  std::vector<block_memory> memory(window);
  std::vector<block> resident(window);
  std::uint64_t next = 0;
  const auto start = [&](std::uint64_t i) {
    set_up_block(of, resident[i], next++, memory[i], races.get());
  };
  for (std::uint64_t i = 0; i != window; ++i) {
    start(i);
  }
  for (std::uint64_t left = window, i = 0; left != 0;) {
    i = of.seed != 0 ? random() % window : (i + 1) % window;
    block& chosen = resident[i];
    if (chosen.warps.empty()) {
      continue;
    }
    const std::uint64_t rounds = of.seed != 0 ? 1 + random() % 3 : 1;
    const std::uint64_t budget = of.seed != 0 ? 20 + random() % 4000 : resident_budget;
    if (!run_block(chosen, rounds, budget)) {
      continue;
    }
    total.add(chosen);
    chosen.resolved = {};
    if (next < blocks) {
      start(i);
    } else {
      chosen.warps.clear();
      --left;
    }
  }
  return total.get();
}

launch_counts execute_in_order(const launch& of) {
  const std::uint64_t blocks = of.grid.count();
  totals total;
  std::atomic<std::uint64_t> next{0};
  std::mutex mutex;
  std::optional<fault> failure;  // guarded by mutex
  const auto work = [&] {
    kept_memory memory;
    race_copy races(of);
    block mine;
    try {
      for (std::uint64_t i = next++; i < blocks; i = next++) {
        set_up_block(of, mine, i, memory.get(), races.get());
        while (!run_block(mine, ~std::uint64_t{0}, warp_budget)) {
        }
      }
    } catch (const fault& raised) {
      const std::lock_guard guard(mutex);
      if (!failure) {
        failure = raised;
      }
      next = blocks;
    }
    total.add(mine);
  };
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < of.workers && i < blocks; ++i) {
    helpers.emplace_back(work);
  }
  work();
  for (std::thread& helper : helpers) {
    helper.join();
  }
  if (failure) {
    throw *failure;
  }
  return total.get();
}

std::string triple(const extent& e) {
  return "(" + std::to_string(e.x) + "," + std::to_string(e.y) + "," + std::to_string(e.z) + ")";
}

}  // namespace

void raise(const warp& w, const instruction& in, int lane, fault_code code, finding kind,
           const std::string& what) {
  const launch& of = *w.home->of;
  const std::uint32_t thread = w.index * lane_count + static_cast<std::uint32_t>(lane);
  const extent& n = of.block;
  const extent position{thread % n.x, thread / n.x % n.y, thread / (n.x * n.y)};
  throw fault(code, kind,
              what + " in kernel " + of.code->title + ", block " + triple(w.home->index) +
                  ", thread " + triple(position) + ", PTX line " + std::to_string(in.line));
}

launch_counts execute(const launch& of) {
  return of.cooperative || of.seed != 0 ? execute_in_turns(of) : execute_in_order(of);
}

}  // namespace cudasim
