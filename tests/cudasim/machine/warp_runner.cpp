// SPDX-License-Identifier: Apache-2.0
//
// The loop that executes instructions, and divergence: no analysis of the code is needed, as CUB
// and nvcc's own code meet again soon under "lowest first".
#include "machine/warp_runner.hpp"

#include "machine/lanes.hpp"

#include <algorithm>
#include <bit>

namespace cudasim {
namespace {

constexpr std::uint64_t diverged_quantum = 20000;  // before another divergent group may run
constexpr std::uint64_t turn_quantum = 500;        // of each group when they take turns

std::uint32_t lane_value(const warp& w, place at, int lane) {
  return source_lanes<std::uint32_t>(w, at)[lane];
}

}  // namespace

warp_runner::result warp_runner::run(std::uint64_t budget) {
  while (pick()) {
    if (interpret(budget)) {
      return result::out_of_budget;
    }
  }
  return warp_.live == 0 ? result::done : result::blocked;
}

void warp_runner::add(std::uint32_t pc, lane_mask mask, warp::state now) {
  if (mask != 0) {
    warp_.groups.push_back({pc, mask, now});
  }
}

void warp_runner::merge_groups() {
  auto& groups = warp_.groups;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    for (std::size_t j = i + 1; j < groups.size();) {
      if (groups[i].now == groups[j].now && groups[i].pc == groups[j].pc &&
          groups[i].now != warp::state::at_barrier) {
        groups[i].mask |= groups[j].mask;
        groups[j] = groups.back();
        groups.pop_back();
      } else {
        ++j;
      }
    }
  }
}

// The running group at the lowest place, or the next in turn after the lowest had a long run.
std::size_t warp_runner::choose(std::size_t runnable, bool& takes_turn) {
  const auto& groups = warp_.groups;
  takes_turn = runnable > 1 && warp_.rotation != 0;
  if (takes_turn) {
    std::size_t skip = warp_.rotation++ % runnable;
    if (warp_.rotation > runnable + 1) {
      warp_.rotation = 0;
    }
    for (std::size_t i = 0; i != groups.size(); ++i) {
      if (groups[i].now == warp::state::running && skip-- == 0) {
        return i;
      }
    }
  }
  std::size_t best = groups.size();
  for (std::size_t i = 0; i != groups.size(); ++i) {
    if (groups[i].now == warp::state::running &&
        (best == groups.size() || groups[i].pc < groups[best].pc)) {
      best = i;
    }
  }
  return best;
}

// Takes the next group to run out of the list; false if there is none.
bool warp_runner::pick() {
  merge_groups();
  auto& groups = warp_.groups;
  const auto is_running = [](const warp::group& g) { return g.now == warp::state::running; };
  const auto runnable =
      static_cast<std::size_t>(std::count_if(groups.begin(), groups.end(), is_running));
  if (runnable == 0) {
    return release_waiting();
  }
  bool takes_turn = false;
  const std::size_t best = choose(runnable, takes_turn);
  pc_ = groups[best].pc;
  mask_ = groups[best].mask;
  groups[best] = groups.back();
  groups.pop_back();
  merge_pc_ = no_place;
  if (!takes_turn) {
    for (const warp::group& g : groups) {
      if (is_running(g)) {
        merge_pc_ = std::min(merge_pc_, g.pc);
      }
    }
  }
  quantum_ = takes_turn              ? turn_quantum
             : merge_pc_ != no_place ? diverged_quantum
                                     : ~std::uint64_t{0};
  return true;
}

lane_mask warp_runner::ready_lanes(const instruction& in, lane_mask at, lane_mask arrived) const {
  lane_mask ready = 0;
  each_lane(at, [&](int l) {
    if ((lane_value(warp_, in.ref[7], l) & warp_.live & ~arrived) == 0) {
      ready |= lane_mask{1} << l;
    }
  });
  return ready;
}

// bar.warp.sync (the one without a handler) may be reached in several places: all of them open.
bool warp_runner::release_barriers(lane_mask arrived) {
  std::vector<warp::group> released;
  for (warp::group& g : warp_.groups) {
    const instruction& in = kernel_.code[g.pc];
    if (g.now == warp::state::at_sync && in.run == nullptr) {
      const lane_mask ready = ready_lanes(in, g.mask, arrived);
      g.mask &= ~ready;
      released.push_back({g.pc + 1, ready, warp::state::running});
    }
  }
  std::erase_if(warp_.groups, [](const warp::group& g) { return g.mask == 0; });
  bool any = false;
  for (const warp::group& g : released) {
    any |= g.mask != 0;
    add(g.pc, g.mask);
  }
  return any;
}

// No group can run: those at a warp-level operation may have become complete as lanes exited.
bool warp_runner::release_waiting() {
  auto& groups = warp_.groups;
  bool at_barrier = false;
  lane_mask at_plain_sync = 0;
  for (const warp::group& g : groups) {
    at_barrier |= g.now == warp::state::at_barrier;
    if (g.now == warp::state::at_sync && kernel_.code[g.pc].run == nullptr) {
      at_plain_sync |= g.mask;
    }
  }
  if (at_plain_sync != 0 && release_barriers(at_plain_sync)) {
    return pick();
  }
  for (std::size_t i = 0; i != groups.size(); ++i) {
    const instruction& in = kernel_.code[groups[i].pc];
    if (groups[i].now != warp::state::at_sync || in.run == nullptr) {
      continue;
    }
    const lane_mask ready = ready_lanes(in, groups[i].mask, groups[i].mask);
    if (ready != 0) {
      const std::uint32_t pc = groups[i].pc;
      const lane_mask rest = groups[i].mask & ~ready;
      groups[i].mask = ready;
      groups[i].now = warp::state::running;
      add(pc, rest, warp::state::at_sync);
      return pick();
    }
  }
  if (!at_barrier && !groups.empty()) {
    raise(warp_, kernel_.code[groups[0].pc], std::countr_zero(groups[0].mask),
          fault_code::launch_failure, finding::deadlock,
          "a warp-level operation waits for lanes that never arrive");
  }
  return false;
}

// Runs the current group until it must yield; true if the budget is used up.
bool warp_runner::interpret(std::uint64_t& budget) {
  const instruction* const code = kernel_.code.data();
  std::uint64_t threads = 0;
  std::uint64_t count = 0;
  std::uint64_t limit = std::min(budget, quantum_);
  bool out_of_budget = false;
  while (true) {
    if (pc_ >= merge_pc_ || count >= limit) [[unlikely]] {
      add(pc_, mask_);
      out_of_budget = count >= budget;
      if (count >= quantum_ && quantum_ == diverged_quantum) {
        warp_.rotation = 1;
      }
      break;
    }
    const instruction& in = code[pc_];
    lane_mask m = mask_;
    if (in.guard != no_place) {
      const lane_mask p = predicate(warp_, in.guard);
      m &= in.guard_negated ? ~p : p;
    }
    ++count;
    threads += static_cast<unsigned>(std::popcount(m));
    if (in.ctl == control::none) [[likely]] {
      ++pc_;
      if (m != 0) {
        in.run(warp_, in, m);
      }
    } else if (m == 0) {
      ++pc_;
    } else if (in.ctl == control::yield) {
      ++pc_;
      budget = limit = count;
    } else if (!flow(in, m)) {
      break;
    }
  }
  warp_.counts.thread_instructions += threads;
  budget -= std::min(budget, count);
  return out_of_budget;
}

// False: the current group was put back into the list.
bool warp_runner::flow(const instruction& in, lane_mask m) {
  switch (in.ctl) {
  case control::branch:
    return branch(in, m);
  case control::branch_indexed:
    branch_indexed(in, m);
    return false;
  case control::exit:
    warp_.live &= ~m;
    mask_ &= ~m;
    ++pc_;
    return mask_ != 0;
  case control::warp_sync:
    return warp_sync(in, m);
  case control::barrier:
  case control::barrier_arrive:
    return barrier(in, m);
  case control::trap:
    raise(warp_, in, std::countr_zero(m), fault_code::launch_failure, finding::kernel_fault,
          "trap or failed assertion");
  case control::unsupported:
    raise(warp_, in, std::countr_zero(m), fault_code::not_supported, finding::unsupported,
          kernel_.unsupported[in.target]);
  case control::none:
  case control::yield:
    break;
  }
  return true;
}

bool warp_runner::branch(const instruction& in, lane_mask m) {
  if (m == mask_) {
    pc_ = in.target;
    return true;
  }
  add(in.target, m);
  add(pc_ + 1, mask_ & ~m);
  return false;
}

void warp_runner::branch_indexed(const instruction& in, lane_mask m) {
  const std::vector<std::uint32_t>& table = kernel_.branch_tables[in.target];
  add(pc_ + 1, mask_ & ~m);
  each_lane(m, [&](int l) {
    const std::uint32_t index = lane_value(warp_, in.ref[0], l);
    if (index >= table.size()) {
      raise(warp_, in, l, fault_code::illegal_instruction, finding::kernel_fault,
            "branch to entry " + std::to_string(index) + " of " + std::to_string(table.size()));
    }
    add(table[index], lane_mask{1} << l);
  });
}

bool warp_runner::barrier(const instruction& in, lane_mask m) {
  const int lane = std::countr_zero(m);
  const std::uint32_t id = lane_value(warp_, in.ref[1], lane) % block::barriers;
  const std::uint32_t expected = in.ref[2] == no_place ? 0 : lane_value(warp_, in.ref[2], lane);
  block& home = *warp_.home;
  if (in.ctl == control::barrier_arrive) {
    home.arrived.at(id) += static_cast<unsigned>(std::popcount(m));
    ++pc_;
    return true;
  }
  add(pc_ + 1, mask_ & ~m);
  if (in.operation != barrier_operation::sync) {
    const lane_mask p = predicate(warp_, in.ref[3]);
    const lane_mask votes = (in.flag ? ~p : p) & m;
    block::reduction& total = home.reductions.at(id);
    total.count += static_cast<unsigned>(std::popcount(votes));
    total.any |= votes != 0;
    total.all &= votes == m;
  }
  const place answer = in.operation == barrier_operation::sync ? no_place : in.ref[0];
  warp_.groups.push_back({pc_ + 1, m, warp::state::at_barrier, id, expected, answer, in.operation});
  return false;
}

// True if all live lanes are here with one member mask: nearly always so.
bool warp_runner::is_uniform_sync(const instruction& in, lane_mask m) const {
  if (m != warp_.live || !warp_.groups.empty()) {
    return false;
  }
  const auto* const members = source_lanes<std::uint32_t>(warp_, in.ref[7]);
  const std::uint32_t first = members[std::countr_zero(m)];
  std::uint32_t differs = 0;
  for (int l = 0; l < lane_count; ++l) {
    differs |= ((m >> l) & 1) != 0 ? members[l] ^ first : 0;
  }
  return differs == 0 && (first & m) == m;
}

void warp_runner::run_by_member_mask(const instruction& in, lane_mask lanes) {
  while (lanes != 0) {
    const std::uint32_t members = lane_value(warp_, in.ref[7], std::countr_zero(lanes));
    lane_mask same = 0;
    each_lane(lanes, [&](int l) {
      if (lane_value(warp_, in.ref[7], l) == members) {
        same |= lane_mask{1} << l;
      }
    });
    if (in.run != nullptr) {
      in.run(warp_, in, same);
    }
    lanes &= ~same;
  }
}

bool warp_runner::warp_sync(const instruction& in, lane_mask m) {
  if (is_uniform_sync(in, m)) {
    if (in.run != nullptr) {
      in.run(warp_, in, m);
    }
    ++pc_;
    return true;
  }
  if (m != mask_) {
    add(pc_ + 1, mask_ & ~m);
    merge_pc_ = std::min(merge_pc_, pc_ + 1);
    mask_ = m;
  }
  const auto waits_here = [&](const warp::group& g) {
    return g.now == warp::state::at_sync && g.pc == pc_;
  };
  lane_mask all = m;
  for (const warp::group& g : warp_.groups) {
    if (waits_here(g)) {
      all |= g.mask;
    }
  }
  const lane_mask ready = ready_lanes(in, all, all);
  if (ready == 0) {
    add(pc_, m, warp::state::at_sync);
    return false;
  }
  std::erase_if(warp_.groups, waits_here);
  add(pc_, all & ~ready, warp::state::at_sync);
  mask_ = ready;
  run_by_member_mask(in, ready);
  ++pc_;
  return true;
}

}  // namespace cudasim
