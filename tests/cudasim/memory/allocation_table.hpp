// SPDX-License-Identifier: Apache-2.0
//
// All allocations, as the host knows them (issued) and as the devices do (live: their allocation
// has executed and their free has not). Checks every use against both, and against the order of
// streams. Guarded by the runtime's lock.
#pragma once

#include "machine/execution.hpp"
#include "memory/clock.hpp"
#include "memory/export_table.hpp"
#include "memory/race_log.hpp"
#include "memory/reports.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace cudasim {

enum class memory_kind : std::uint8_t { device, pinned, managed, registered };

// A CUDA location as numbers: this folder knows no CUDA header.
struct memory_location {
  int type = 0;  // invalid
  int id = 0;
};

using device_set = std::set<int>;

struct allocation {
  struct access {
    std::string name;
    int stream;
    std::uint64_t tick;
  };
  std::uint64_t base = 0;
  std::uint64_t size = 0;
  std::uint64_t delta = 0;  // base + delta: where the simulator finds it
  std::uint64_t serial = 0;
  memory_kind kind = memory_kind::device;
  int device = 0;
  unsigned flags = 0;    // of the call that made it
  void* pool = nullptr;  // that its bytes go back to
  int stream = -1;       // of its allocation, if that is stream-ordered
  std::uint64_t tick = 0;
  bool live = false;
  bool read_only = false;    // registered so: devices may not write
  bool read_mostly = false;  // advice on managed memory
  memory_location preferred;
  memory_location location;                // of its last prefetch
  bool is_program = false;                 // a variable of a module: never freed
  std::shared_ptr<shared_entry> exported;  // what other processes know it by
  std::shared_ptr<shared_entry> imported;  // of memory that is another process's
  std::string allocated_by;
  bool leak_reported = false;
  std::string freed_by;
  std::vector<access> accesses;  // the last one of each stream
  // Memory of pools and mappings: who may access it, from each address up to the next one. Empty:
  // memory of cudaMalloc, for which peer access is enabled device by device.
  std::map<std::uint64_t, std::shared_ptr<const device_set>> granted;

  [[nodiscard]] std::string describe() const;
  [[nodiscard]] std::string history() const;
};
using allocation_ptr = std::shared_ptr<allocation>;

using peer_set = std::set<std::pair<int, int>>;  // (user, owner): user may access owner's memory

// How an operation gets at memory of another device than its own.
struct route {
  const peer_set* enabled = nullptr;  // kernels: cudaMalloc memory of these; null: of every device
  bool is_carried = false;            // the driver carries the bytes, so no access is needed at all
};

class allocation_table {
 public:
  allocation_table(reports& sink, race_log& races) : sink_(sink), races_(races) {}
  allocation_table(const allocation_table&) = delete;
  allocation_table& operator=(const allocation_table&) = delete;

  /// How many bytes of an allocation are filled with a value, when it begins and when it ends.
  void poison_at_most(std::uint64_t bytes) { poison_ = bytes; }

  /// Known to the host from now on; fields that the caller knows better are set by the caller.
  allocation_ptr issue(const allocation&);
  /// The allocation that holds the address, as the host knows it; null if there is none.
  [[nodiscard]] allocation_ptr issued(std::uint64_t address) const;
  [[nodiscard]] allocation_ptr issued(const void* address) const {
    return issued(reinterpret_cast<std::uint64_t>(address));
  }
  /// The latest allocation at this address that was freed; null if none is remembered.
  [[nodiscard]] allocation_ptr freed(std::uint64_t address) const;
  /// The host has freed it; a device may still use it until finish().
  void retract(const allocation_ptr&);

  /// Executes the allocation; fresh: its memory is poisoned.
  void start(const allocation_ptr&, const actor*, bool fresh);
  /// Executes the free by `by` and reports uses that it is not ordered after; without an actor
  /// everything came before. lost: the memory is poisoned.
  void finish(const allocation_ptr&, const actor* by, bool lost);

  /// Checks an access; throws fault if it cannot happen. The answer is what the same actor may
  /// access around it.
  range use(std::uint64_t address, std::uint64_t bytes, bool write, const actor& by,
            const route& way);

  [[nodiscard]] const std::map<std::uint64_t, allocation_ptr>& all_issued() const {
    return issued_;
  }

 private:
  [[noreturn]] void raise_stray(std::uint64_t address, std::uint64_t bytes, bool write,
                                const allocation_ptr& found, const actor& by) const;
  static void check_owner(const allocation& found, const std::string& what);
  [[nodiscard]] static bool may_reach(const allocation&, const range& used, int device,
                                      const route& way);
  [[nodiscard]] static range part_around(const allocation&, std::uint64_t address);
  void poison(const allocation& of, int byte) const;
  reports& sink_;
  race_log& races_;
  std::uint64_t poison_ = 0;
  std::map<std::uint64_t, allocation_ptr> issued_;
  std::map<std::uint64_t, allocation_ptr> live_;
  std::deque<allocation_ptr> freed_;
  std::uint64_t serial_ = 0;
};

}  // namespace cudasim
