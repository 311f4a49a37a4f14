// SPDX-License-Identifier: Apache-2.0
//
// What the environment asks for; README.md lists the variables. Read once, at the first call.
#pragma once

#include <cstdint>
#include <string>

namespace cudasim {

struct settings {
  int devices = 1;
  std::uint64_t memory_bytes = std::uint64_t{8} << 30;   // of each device
  std::uint64_t poison_bytes = std::uint64_t{64} << 20;  // of each allocation are filled
  std::uint64_t seed = 0;                                // 0: streams and blocks in order
  bool eager = false;                                    // run each operation when it is enqueued
  bool async = false;                                    // run them on a thread of their own
  unsigned workers = 1;                                  // host threads that run a kernel's blocks
  bool races = true;
  bool host_races = false;  // by page protection, which system calls do not like
  bool leaks = false;       // at the end of the process
  bool fail = true;         // the process fails if there are unexpected reports
  bool quiet = false;
  bool hide = true;  // the host may not touch device memory
  bool statistics = false;
  bool sectors = false;
  bool reuse = true;                   // pools reuse memory
  bool identity_in_captures = false;   // a stream's id and device are told while it captures
  bool handle_reuse = true;            // the next stream or event has the handle destroyed last
  std::uint64_t pending_limit = 1024;  // operations of a stream; who adds more waits; 0: no limit
  std::uint64_t foreign_captures = 0;  // their seed; 0: other threads capture nothing
  int driver_version = 13000;
  std::string without;  // of pools, vmm, peers, managed, ipc, readonly: what the devices lack
  std::string faults;   // call:n:error, ...

  [[nodiscard]] bool lacks(const char* feature) const;
};

[[nodiscard]] settings read_settings();

}  // namespace cudasim
