// SPDX-License-Identifier: Apache-2.0
//
// What a process lets other processes see: a table in a memory file that all of them map. An entry
// stands for memory or for an event; a ticket names it and is what handles carry. An entry that is
// taken back changes its generation, so old tickets are known to be stale. The owner adds and
// withdraws under its runtime's lock; other processes read, and count records of events.
#pragma once

#include "memory/clock.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace cudasim {

struct ticket {
  std::uint64_t magic = 0;
  std::uint64_t owner = 0;  // drawn by chance, once for each table
  std::uint64_t generation = 0;
  std::uint32_t kind = 0;
  std::uint32_t slot = 0;
  std::int32_t process = 0;
  std::int32_t descriptor = -1;  // of the table's file in that process
  std::uint64_t unused[3] = {};

  friend bool operator==(const ticket& a, const ticket& b) {
    return a.owner == b.owner && a.slot == b.slot && a.generation == b.generation;
  }
};
static_assert(sizeof(ticket) == 64, "handles of CUDA have 64 bytes");

class export_table {
 public:
  enum class purpose : std::uint32_t { process = 1, pool };
  enum class kind : std::uint32_t { memory = 1, event, pooled_memory };
  struct description {
    purpose made_for = purpose::process;
    int memory_descriptor = -1;  // in the owner; -1: the memory follows the table in its file
    int memory_kind = 0;
    int device = 0;
    int location_type = 0;
    int location_id = 0;
  };
  struct entry {
    std::atomic<std::uint64_t> generation;  // odd: in use
    std::uint64_t offset;                   // of memory, in bytes of its file
    std::uint64_t size;                     // of memory, in bytes
    std::int32_t device;
    std::atomic<std::uint32_t> is_live;    // 0: memory whose allocation has not executed
    std::atomic<std::uint64_t> recorded;   // records of an event so far, by anybody
    std::atomic<std::uint64_t> completed;  // the latest of them that has executed
    std::uint64_t unused;
  };

  /// A new table; its file has room for `memory_bytes` after it. Null if the system has none.
  [[nodiscard]] static std::shared_ptr<export_table> create(const description&,
                                                            std::uint64_t memory_bytes);
  /// The table that begins a file; the descriptor is the table's from now on. Null if the file
  /// holds none.
  [[nodiscard]] static std::shared_ptr<export_table> attach(int descriptor);
  ~export_table();
  export_table(const export_table&) = delete;
  export_table& operator=(const export_table&) = delete;

  struct item {
    kind what = kind::memory;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    int device = 0;
  };
  /// The new entry's ticket; its generation is 0 if the table is full.
  [[nodiscard]] ticket add(const item&);
  void withdraw(const ticket&);
  /// The entry that a ticket's numbers name; null if they name none, now or ever.
  [[nodiscard]] entry* find(const ticket&) const;
  [[nodiscard]] description made_with() const;
  [[nodiscard]] std::uint64_t owner() const;
  [[nodiscard]] int descriptor() const { return descriptor_; }

  static constexpr std::uint64_t magic = 0x31306d6973616475;
  static constexpr std::uint64_t memory_offset = std::uint64_t{2} << 20;

 private:
  struct contents;
  export_table(int descriptor, contents* mapped) : descriptor_(descriptor), mapped_(mapped) {}
  int descriptor_;
  contents* mapped_;
  std::uint32_t used_slots_ = 0;
  std::vector<std::uint32_t> free_slots_;
};

// An entry that this process made, which is withdrawn at the end, or one of another process.
class shared_entry {
 public:
  shared_entry(std::shared_ptr<export_table> of, const ticket& name, bool owns)
      : table_(std::move(of)), name_(name), entry_(table_->find(name)), owns_(owns) {}
  ~shared_entry() {
    if (owns_) {
      table_->withdraw(name_);
    }
  }
  shared_entry(const shared_entry&) = delete;
  shared_entry& operator=(const shared_entry&) = delete;

  [[nodiscard]] const ticket& name() const { return name_; }
  [[nodiscard]] bool is_valid() const {
    return entry_->generation.load(std::memory_order_acquire) == name_.generation;
  }
  export_table::entry* operator->() const { return entry_; }
  // Records and waits of events.
  [[nodiscard]] bool has_completed(std::uint64_t record) const {
    return entry_->completed.load(std::memory_order_acquire) >= record;
  }
  void complete(std::uint64_t record) const {
    std::uint64_t before = entry_->completed.load(std::memory_order_relaxed);
    while (before < record &&
           !entry_->completed.compare_exchange_weak(before, record, std::memory_order_acq_rel)) {
    }
  }

  int opened = 1;  // how often this process has opened it

 private:
  std::shared_ptr<export_table> table_;
  ticket name_;
  export_table::entry* entry_;
  bool owns_;
};

}  // namespace cudasim
