// SPDX-License-Identifier: Apache-2.0
//
// What race checking keeps for the whole process: the operations that accessed memory, and for
// every word of 4 bytes who wrote it last and who has read it since (the shadow). Thread-safe
// where it says so; the rest is used under the runtime's lock.
#pragma once

#include "machine/types.hpp"
#include "memory/clock.hpp"
#include "memory/reports.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace cudasim {

// Who accessed a word: an operation's id, or the number of a set of operations that no order
// joins. Atomic accesses are marked, as they do not race with each other. 0: nobody.
using accessor = std::uint32_t;
inline constexpr accessor atomic_mark = accessor{1} << 31;
inline constexpr accessor set_mark = accessor{1} << 30;
inline constexpr accessor id_bits = set_mark - 1;

class race_log {
 public:
  explicit race_log(reports& sink) : sink_(sink) {}
  race_log(const race_log&) = delete;
  race_log& operator=(const race_log&) = delete;

  /// Watches an address range from now on. shared: the host may access it as well.
  void watch(const range&, bool shared);
  /// Ends that, for a range that begins there.
  void unwatch(std::uint64_t low);
  /// True if the host may access the address as well.
  [[nodiscard]] bool is_shared(std::uint64_t address) const {
    for (const watched& part : watched_) {
      if (part.shared && address - part.low < part.size) {
        return true;
      }
    }
    return false;
  }
  /// The shadow word of an address; null if it is not watched. Thread-safe.
  [[nodiscard]] std::uint64_t* shadow_of(std::uint64_t address) const {
    for (const watched& part : watched_) {
      if (address - part.low < part.size) {
        return part.words + (address - part.low / 4 * 4) / 4;
      }
    }
    return nullptr;
  }
  /// Forgets all accesses to a range: it has become another allocation.
  void forget(std::uint64_t address, std::uint64_t bytes);
  /// Gives the actor its id.
  void enter(actor&);
  /// The operation synchronises with host code by itself, through memory: how is not seen, so that
  /// the two are never said to race. Thread-safe.
  void note_talk(const actor&);
  /// True if all of `earlier` came before `by` or does not conflict with it. Thread-safe.
  [[nodiscard]] bool is_ordered(accessor earlier, const actor& by, bool atomic);
  /// `earlier`, without what came before `by`, and `by` itself (marked by `self`). Thread-safe.
  [[nodiscard]] accessor unite(accessor earlier, accessor self, const actor& by);
  /// Reports a race, once per pair of operations. Thread-safe.
  void race(std::uint64_t address, const char* what, accessor earlier, const actor& by,
            bool atomic);

 private:
  struct operation {
    std::uint32_t name;
    int stream;
    std::uint64_t tick;
    std::uint64_t host_tick;
    bool talks;
    [[nodiscard]] bool is_host() const { return stream < 0 || host_tick != 0; }
  };
  struct watched {
    std::uint64_t low;
    std::uint64_t size;
    std::uint64_t* words;
    bool shared;
  };
  [[nodiscard]] bool is_ordered_locked(accessor earlier, const actor& by, bool atomic) const;

  reports& sink_;
  std::vector<watched> watched_;
  std::mutex mutex_;                                         // guards what follows
  std::vector<operation> operations_{{0, -1, 0, 0, false}};  // by id
  std::vector<std::string> names_{""};
  std::map<std::string, std::uint32_t> name_index_;
  std::vector<std::vector<accessor>> sets_{{}};
  std::map<std::vector<accessor>, accessor> set_index_;
  std::set<std::pair<accessor, accessor>> reported_;
};

}  // namespace cudasim
