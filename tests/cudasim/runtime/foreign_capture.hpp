// SPDX-License-Identifier: Apache-2.0
//
// foreign_capture: what is known of a capture that another thread seems to have begun. There is no
// such thread: between two calls of the program under test the simulator itself begins and ends
// captures, at moments that a seed says, as any other part of an application may. A call that
// spoils one is reported. Which moments: foreign_capture.cpp. Guarded by the runtime's lock.
#pragma once

#include "runtime/graph.hpp"
#include "runtime/stream.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <vector>

namespace cudasim {

struct foreign_capture {
  std::uint64_t seed = 0;  // 0: other threads capture nothing
  std::mt19937_64 random;  // its own, so that operations run in the same order with and without it
  std::atomic<bool> has_watched{false};  // only calls that are watched count from now on
  stream* origin = nullptr;              // of the capture that is under way; null: none
  std::unique_ptr<graph> into;
  bool is_reported = false;
  std::uint64_t begun = 0;
  std::vector<stream*> own;  // by device; null until needed
  std::set<stream*> lent;    // by the program
};

}  // namespace cudasim
