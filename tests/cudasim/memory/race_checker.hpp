// SPDX-License-Identifier: Apache-2.0
//
// Checks the accesses of one operation against the shadow, word by word: accesses of one word by
// two operations, one of them a write, have to be ordered by streams, events or the host. Races
// within one operation are not looked for. One thread; each worker has a copy of its own.
#pragma once

#include "memory/race_log.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

namespace cudasim {

class race_checker {
 public:
  race_checker(race_log& log, const actor& by) : log_(&log), by_(&by) {}

  void access(std::uint64_t address, std::uint64_t bytes, bool write, bool atomic) {
    std::uint64_t* word = log_->shadow_of(address);
    if (word == nullptr || bytes == 0) {
      return;
    }
    const std::uint64_t count = (address % 4 + bytes + 3) / 4;
    change& latest = changes_[write ? 1 : 0][atomic ? 1 : 0];
    for (std::uint64_t i = 0; i != count; ++i) {
      const std::atomic_ref<std::uint64_t> cell(word[i]);
      const std::uint64_t old = cell.load(std::memory_order_relaxed);
      if (old != latest.before) [[unlikely]] {
        latest = {old, after(old, address / 4 * 4 + 4 * i, write, atomic)};
      }
      if (latest.after != old) {
        cell.store(latest.after, std::memory_order_relaxed);
      }
    }
  }

  // An access for the host to see at once, or of what the host has just written: a hand-over that
  // the clocks do not know, if it goes to memory that the host shares.
  void note_system_access(std::uint64_t address) {
    if (!talks_ && log_->is_shared(address)) {
      note_system_fence();
    }
  }
  void note_system_fence() {
    if (!std::exchange(talks_, true)) {
      log_->note_talk(*by_);
    }
  }

 private:
  static std::uint64_t join(accessor writer, accessor reader) {
    return writer | std::uint64_t{reader} << 32;
  }
  // Few accessors come before one operation: most questions were answered a moment ago.
  bool is_ordered(accessor earlier, bool atomic) {
    if (earlier == 0) {
      return true;
    }
    accessor& known = known_[atomic ? 1 : 0][earlier % known_size];
    if (known == earlier) {
      return true;
    }
    if (!log_->is_ordered(earlier, *by_, atomic)) {
      return false;
    }
    known = earlier;
    return true;
  }
  accessor replace(accessor earlier, accessor self) {
    if (is_ordered(earlier, false)) {
      return self;
    }
    if (earlier != united_from_ || self != united_self_) {
      united_from_ = earlier;
      united_self_ = self;
      united_ = log_->unite(earlier, self, *by_);
    }
    return united_;
  }
  // What a shadow word becomes; it depends on nothing but the word before.
  [[gnu::noinline]] std::uint64_t after(std::uint64_t old, std::uint64_t address, bool write,
                                        bool atomic) {
    const auto writer = static_cast<accessor>(old);
    const auto reader = static_cast<accessor>(old >> 32);
    if ((write ? writer : reader) == (by_->id | (atomic ? atomic_mark : 0))) {
      return old;  // this operation has done so before, and operations run one after another
    }
    return write ? write_to(address, writer, reader, atomic)
                 : read_from(address, writer, reader, atomic);
  }
  std::uint64_t write_to(std::uint64_t address, accessor writer, accessor reader, bool atomic) {
    if (!is_ordered(writer, atomic)) {
      log_->race(address, "write after write", writer, *by_, atomic);
      writer = 0;
    }
    if (!is_ordered(reader, atomic)) {
      log_->race(address, "write after read", reader, *by_, atomic);
      reader = 0;
    }
    // Whoever comes after this write comes after the reads that it came after.
    return join(replace(writer, by_->id | (atomic ? atomic_mark : 0)),
                is_ordered(reader, false) ? 0 : reader);
  }
  std::uint64_t read_from(std::uint64_t address, accessor writer, accessor reader, bool atomic) {
    if (!is_ordered(writer, atomic)) {
      log_->race(address, "read after write", writer, *by_, atomic);
    }
    return join(writer, replace(reader, by_->id | (atomic ? atomic_mark : 0)));
  }

  // Neighbours mostly have the same past: the latest answer serves again.
  struct change {
    std::uint64_t before = ~std::uint64_t{0};  // of no word: no accessor has all bits
    std::uint64_t after = 0;
  };

  static constexpr std::size_t known_size = 64;
  race_log* log_;
  const actor* by_;
  std::array<std::array<change, 2>, 2> changes_{};  // by write, by atomic
  std::array<std::array<accessor, known_size>, 2> known_{};
  accessor united_from_ = 0;
  accessor united_self_ = 0;
  accessor united_ = 0;
  bool talks_ = false;
};

}  // namespace cudasim
