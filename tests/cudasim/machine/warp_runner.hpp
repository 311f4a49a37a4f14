// SPDX-License-Identifier: Apache-2.0
//
// Runs one warp. Its divergent groups of lanes run one after another, the lowest place in the code
// first, and merge where they meet; after a long run the others get turns, so that lanes may spin
// on each other. One thread.
#pragma once

#include "machine/execution.hpp"

#include <cstdint>
#include <vector>

namespace cudasim {

class warp_runner {
 public:
  enum class result : std::uint8_t { done, blocked, out_of_budget };
  explicit warp_runner(warp& of) : warp_(of), kernel_(*of.home->of->code) {}

  /// Until all lanes have exited, wait at barriers, or `budget` instructions have run.
  result run(std::uint64_t budget);

 private:
  void add(std::uint32_t pc, lane_mask, warp::state = warp::state::running);
  void merge_groups();
  bool pick();
  std::size_t choose(std::size_t runnable, bool& takes_turn);
  bool release_waiting();
  bool release_barriers(lane_mask arrived);
  [[nodiscard]] lane_mask ready_lanes(const instruction&, lane_mask at, lane_mask arrived) const;
  bool interpret(std::uint64_t& budget);
  bool flow(const instruction&, lane_mask);
  bool branch(const instruction&, lane_mask);
  void branch_indexed(const instruction&, lane_mask);
  bool barrier(const instruction&, lane_mask);
  bool warp_sync(const instruction&, lane_mask);
  bool is_uniform_sync(const instruction&, lane_mask) const;
  void run_by_member_mask(const instruction&, lane_mask);

  warp& warp_;
  const kernel& kernel_;
  std::uint32_t pc_ = 0;
  std::uint32_t merge_pc_ = no_place;  // where the next group waits
  lane_mask mask_ = 0;
  std::uint64_t quantum_ = 0;
};

}  // namespace cudasim
