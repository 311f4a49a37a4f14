// SPDX-License-Identifier: Apache-2.0
//
// Stream-ordered pools: they reserve segments, cut blocks from them, and give a freed block again
// to whoever is ordered after its free by the rules that the pool's attributes allow. Guarded by
// the runtime's lock.
#pragma once

#include "memory/address_space.hpp"
#include "memory/allocation_table.hpp"
#include "runtime/stream.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

namespace cudasim {

class pool {
 public:
  struct properties {
    memory_kind kind = memory_kind::device;
    int device = 0;               // or NUMA node, of host memory
    std::uint64_t max_bytes = 0;  // 0: no limit
    cudaMemLocation location{cudaMemLocationTypeDevice, 0};
    cudaMemAllocationHandleType handle_types = cudaMemHandleTypeNone;
  };
  struct taken {
    std::uint64_t address = 0;  // 0: nothing fits what is reserved
    operation_ptr wait_for;     // a dependency that the reuse asks for
  };

  pool(const properties& wanted, address_space& space)
      : accessible_by(std::make_shared<device_set>(device_set{wanted.device})),
        properties_(wanted),
        space_(space) {}

  [[nodiscard]] const properties& made_with() const { return properties_; }
  [[nodiscard]] address_space& space() const { return space_; }

  struct request {
    std::uint64_t bytes = 0;
    const stream& to;
    const vector_clock& clock;   // what the operation that takes it is ordered after
    bool may_reuse = true;       // a block that was used before
    std::uint64_t executed = 0;  // operations that have run so far
  };
  [[nodiscard]] taken take(const request&);
  /// Bytes that a new segment for `bytes` takes; the caller checks the device's capacity.
  [[nodiscard]] std::uint64_t segment_bytes(std::uint64_t bytes) const;
  /// False if the pool's limit or the address space is reached.
  [[nodiscard]] bool add_segment(std::uint64_t bytes);
  /// The block is free when `freed` has run.
  void give(std::uint64_t address, const operation_ptr& freed);
  /// Of memory, in the file of a pool that other processes may import.
  [[nodiscard]] std::uint64_t offset_of(std::uint64_t address) const {
    return export_table::memory_offset + address - space_.base();
  }
  [[nodiscard]] bool owns(std::uint64_t address) const { return used_.count(address) != 0; }
  /// Gives segments back that are free, until no more than `keep` bytes are reserved.
  void trim(std::uint64_t keep);
  /// Segments that are free but for executed frees.
  [[nodiscard]] bool is_unused() const { return used_.empty(); }

  /// As a new pool has them.
  void set_usual_attributes() {
    release_threshold = 0;
    follows_events = opportunistic = internal_dependencies = true;
    used_high = used;
    reserved_high = reserved;
  }

  static constexpr std::uint64_t granule = 512;
  std::uint64_t release_threshold = 0;
  bool follows_events = true;
  bool opportunistic = true;
  bool internal_dependencies = true;
  // The devices that may access its memory, also what was allocated before.
  std::shared_ptr<device_set> accessible_by;
  bool destroyed = false;
  bool imported = false;  // another process's: nothing is allocated from it here
  // Of pools that other processes may import; their memory is in its file. Null for the others.
  std::shared_ptr<export_table> table;
  std::string created_by;  // empty: not by the program
  bool leak_reported = false;
  std::uint64_t used = 0;
  std::uint64_t used_high = 0;
  std::uint64_t reserved = 0;
  std::uint64_t reserved_high = 0;

 private:
  struct free_block {
    std::uint64_t size;
    operation_ptr freed;  // null: never used
  };
  using free_map = std::map<std::uint64_t, free_block>;
  free_map::iterator add_free(std::uint64_t address, free_block);
  void drop_free(free_map::iterator);
  [[nodiscard]] bool is_ordered(const free_block&, const stream&, const vector_clock&) const;
  taken cut(free_map::iterator, std::uint64_t bytes, operation_ptr wait_for);
  void merge_around(free_map::iterator);
  void merge_all();
  [[nodiscard]] bool is_free(std::uint64_t begin, std::uint64_t end) const;

  properties properties_;
  address_space& space_;
  std::map<std::uint64_t, std::uint64_t> segments_;
  free_map free_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> by_size_;  // and address, of all in free_
  std::uint64_t merged_at_ = 0;  // operations that had run when all were merged last
  std::map<std::uint64_t, std::uint64_t> used_;
};

}  // namespace cudasim
