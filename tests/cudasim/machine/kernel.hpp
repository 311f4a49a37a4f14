// SPDX-License-Identifier: Apache-2.0
//
// Decoded kernels: what an instruction is to the machine, and where its operands live. Immutable
// once decoded, so any thread may execute one.
#pragma once

#include "machine/ptx.hpp"
#include "machine/types.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cudasim {

struct warp;
struct instruction;
using handler = void (*)(warp&, const instruction&, lane_mask);

// What the warp runner does with an instruction beyond calling its handler.
enum class control : std::uint8_t {
  none,
  branch,
  branch_indexed,
  exit,
  warp_sync,  // waits for the member mask in ref[7], then runs the handler if there is one
  barrier,
  barrier_arrive,
  yield,
  trap,
  unsupported,
};

enum class space : std::uint8_t { global, shared, local, param };  // global: generic addresses too
enum class barrier_operation : std::uint8_t { sync, count, all, any };

// A place is (byte offset << 1) | table; table 0 is the warp's registers, table 1 the kernel's
// constants. A register holds 32 lanes side by side; a predicate is one lane_mask.
using place = std::uint32_t;
inline constexpr place no_place = ~place{0};

struct instruction {
  handler run = nullptr;
  std::array<place, 8> ref{no_place, no_place, no_place, no_place,
                           no_place, no_place, no_place, no_place};
  place guard = no_place;
  std::uint32_t target = no_place;  // of a branch, a table of branches, or the handler's own
  std::int64_t immediate = 0;
  std::int32_t line = 0;
  control ctl = control::none;
  space where = space::global;
  barrier_operation operation = barrier_operation::sync;
  std::uint8_t bytes = 0;  // size of a memory access
  bool guard_negated = false;
  bool narrow_address = false;  // the address register has 32 bits
  bool flag = false;            // the handler's own
  bool atomic = false;          // races with other atomic accesses are none
  bool system = false;          // made to be seen by the host while the kernel runs
  std::uint8_t variant = 0;     // the handler's own
};

enum class special : std::uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  smid,
  nsmid,
  gridid,
  lanemask_eq,
  lanemask_lt,
  lanemask_le,
  lanemask_gt,
  lanemask_ge,
  dynamic_shared,
  total_shared,
  workspace_high,
  workspace_low,
};

struct kernel {
  struct parameter {
    std::uint32_t offset;
    std::uint32_t size;
  };
  std::string name;
  std::string title;  // the name as programmers write it
  std::vector<instruction> code;
  std::vector<char> constants;
  std::vector<std::vector<std::uint32_t>> branch_tables;
  std::vector<std::pair<special, std::uint32_t>> specials;  // byte offset of its register
  std::vector<parameter> parameters;
  std::vector<std::string> unsupported;  // messages, by the target of control::unsupported
  std::uint32_t parameter_bytes = 0;
  std::uint32_t register_bytes = 0;  // of a warp
  std::uint32_t registers = 0;       // of a thread, in words of 32 bits
  std::uint32_t shared_bytes = 0;
  std::uint32_t local_bytes = 0;  // of a thread
  int max_threads = 1024;
};

using symbol_table = std::map<std::string, std::uint64_t, std::less<>>;  // addresses of variables

/// Inlines calls, selects handlers, allocates registers. What the machine does not support becomes
/// an instruction that faults when executed. Throws fault if the code refers to what is not there.
[[nodiscard]] kernel decode(const ptx::program&, const ptx::function&, const symbol_table&);

}  // namespace cudasim
