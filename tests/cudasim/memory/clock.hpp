// SPDX-License-Identifier: Apache-2.0
//
// Vector clocks: what an operation is ordered after. Each stream counts its operations in ticks,
// and the host (stream -1) what it has enqueued; a clock says for each up to which tick. Values; no
// locking.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cudasim {

class vector_clock {
 public:
  void join(const vector_clock& other) {
    if (ticks_.size() < other.ticks_.size()) {
      ticks_.resize(other.ticks_.size());
    }
    for (std::size_t i = 0; i != other.ticks_.size(); ++i) {
      ticks_[i] = std::max(ticks_[i], other.ticks_[i]);
    }
  }
  void set(int stream, std::uint64_t tick) {
    const std::size_t index = index_of(stream);
    if (ticks_.size() <= index) {
      ticks_.resize(index + 1);
    }
    ticks_[index] = tick;
  }
  // True if what happened in `stream` at `tick` came before. Tick 0 came before everything.
  [[nodiscard]] bool covers(int stream, std::uint64_t tick) const {
    const std::size_t index = index_of(stream);
    return tick == 0 || (index < ticks_.size() && ticks_[index] >= tick);
  }

 private:
  static std::size_t index_of(int stream) { return static_cast<std::size_t>(stream + 1); }

  std::vector<std::uint64_t> ticks_;
};

// An operation that executes, or the host (stream -1): who accesses memory, and ordered after what.
struct actor {
  std::string name;
  int device = 0;
  int stream = -1;
  std::uint64_t tick = 0;
  vector_clock clock;
  std::uint32_t id = 0;  // in the race log; 0: not logged
  // Code of the host that runs as part of a stream: 0 if it is not, else the host's tick, as what
  // the host does after that is ordered too (by means that are not seen here).
  std::uint64_t host_tick = 0;

  [[nodiscard]] std::string describe() const {
    return stream < 0 ? name + " on the host"
                      : name + " in stream " + std::to_string(stream) + " (its operation " +
                            std::to_string(tick) + ")";
  }
};

}  // namespace cudasim
