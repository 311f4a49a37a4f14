// SPDX-License-Identifier: Apache-2.0
//
// The state of a running grid: launch, blocks, warps and their divergent groups. Handlers see a
// warp; a block and its warps belong to one host thread at a time.
#pragma once

#include "machine/kernel.hpp"
#include "memory/race_checker.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace cudasim {

// What a launch asks of the memory behind global addresses. Called from one thread at a time.
class memory_port {
 public:
  memory_port() = default;
  memory_port(const memory_port&) = delete;
  memory_port& operator=(const memory_port&) = delete;
  virtual ~memory_port() = default;
  /// The allocation that holds the bytes, if this launch may use them; throws fault otherwise.
  virtual range resolve(std::uint64_t address, unsigned bytes, bool write) = 0;
};

struct launch_counts {
  std::uint64_t thread_instructions = 0;
  std::uint64_t atomics = 0;
  std::uint64_t sectors_read = 0;  // of 32 bytes, of global memory, counted only when asked for
  std::uint64_t sectors_written = 0;
};

struct launch {
  const kernel* code = nullptr;
  extent grid;
  extent block;
  std::uint32_t dynamic_shared = 0;
  bool cooperative = false;
  bool count_sectors = false;
  unsigned workers = 1;    // host threads that run blocks, when there is no seed
  std::uint64_t seed = 0;  // not 0: several blocks at a time, in random turns of random length
  std::uint64_t serial = 0;
  std::vector<char> parameters;
  memory_port* memory = nullptr;
  const race_checker* races = nullptr;  // to copy: sees every access to global memory, if set
  // Cooperative groups' grid barrier: size and count, reached through %envreg1 and %envreg2.
  alignas(8) mutable std::array<std::uint32_t, 2> workspace{8, 0};
};

/// Runs all blocks of the grid; throws fault if one of them faults.
launch_counts execute(const launch&);

struct block;

struct warp {
  enum class state : std::uint8_t { running, at_sync, at_barrier };
  // Lanes at one place in the code.
  struct group {
    std::uint32_t pc;
    lane_mask mask;
    state now;
    std::uint32_t barrier = 0;
    std::uint32_t expected = 0;  // threads that open the barrier; 0: all
    place result = no_place;
    barrier_operation operation = barrier_operation::sync;
  };
  std::array<char*, 2> base{};  // registers, constants
  lane_mask live = 0;
  lane_mask carry = 0;  // condition code of add.cc and its like
  block* home = nullptr;
  std::uint32_t index = 0;
  std::vector<group> groups;
  launch_counts counts;
  std::uint32_t rotation = 0;  // of divergent groups that take turns
  bool done = false;
  bool blocked = false;
};

struct block {
  struct reduction {
    std::uint32_t count = 0;
    bool all = true;
    bool any = false;
  };
  static constexpr int barriers = 16;
  const launch* of = nullptr;
  race_checker* races = nullptr;
  extent index{0, 0, 0};
  char* shared = nullptr;
  char* local = nullptr;
  std::uint32_t shared_bytes = 0;
  std::array<range, 2> hot{};                    // last resolved, for reads and for writes
  std::array<std::vector<range>, 2> resolved{};  // all resolved
  std::vector<warp> warps;
  std::array<std::uint32_t, barriers> arrived{};  // threads that only arrived (bar.arrive)
  std::array<reduction, barriers> reductions{};
};

[[nodiscard]] inline char* local_base(const warp& w, int lane) {
  const std::uint64_t thread = std::uint64_t{w.index} * lane_count + static_cast<unsigned>(lane);
  return w.home->local + thread * w.home->of->code->local_bytes;
}

/// Throws the fault, with kernel, block, thread and line.
[[noreturn]] void raise(const warp&, const instruction&, int lane, fault_code, finding,
                        const std::string& what);

/// Where the host finds a generic address that is not in the block's hot range; raises if nowhere.
[[nodiscard]] char* resolve(warp&, const instruction&, int lane, std::uint64_t address,
                            unsigned bytes, bool write);

}  // namespace cudasim
