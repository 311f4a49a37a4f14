// SPDX-License-Identifier: Apache-2.0
//
// What the tests of debug modes share: a log that keeps what was reported of damages, and writing
// where one may not.
#pragma once

#include "support.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace tidepool::test {

/// A report with a copy of its damage: that is valid during the call only.
struct seen_misuse {
  misuse_kind kind = misuse_kind::stale_free;
  tensor_id id = {};
  bool has_damage = false;
  memory_damage damage = {};  // name and call sites are below
  std::string name;
  std::vector<void*> allocated_at;
  std::vector<void*> freed_at;
  std::string text;  // to_text(damage)
};

/// Keeps every report. Outlives the pools it is given to.
class damage_log {
 public:
  [[nodiscard]] pool_options options(const debug_options& modes, pool_options rest = {}) {
    rest.debug = modes;
    rest.on_misuse = note;
    rest.misuse_context = this;
    return rest;
  }
  /// The reports since the last call.
  [[nodiscard]] std::vector<seen_misuse> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(seen_, {});
  }
  [[nodiscard]] std::size_t count() {
    const std::lock_guard lock(mutex_);
    return seen_.size();
  }
  /// Exactly one report of a damage of this kind, id and place since the last call.
  [[nodiscard]] ::testing::AssertionResult one(misuse_kind kind, tensor_id id,
                                               std::ptrdiff_t offset, std::size_t damaged = 1) {
    const std::vector<seen_misuse> reports = take();
    if (reports.size() != 1) {
      return ::testing::AssertionFailure() << reports.size() << " reports";
    }
    const seen_misuse& seen = reports[0];
    if (seen.kind != kind || seen.id != id || !seen.has_damage || seen.damage.id != id ||
        seen.damage.offset != offset || seen.damage.damaged_bytes != damaged) {
      return ::testing::AssertionFailure()
             << "kind " << static_cast<int>(seen.kind) << ", id " << std::hex << seen.id.value()
             << std::dec << ", offset " << seen.damage.offset << ", damaged "
             << seen.damage.damaged_bytes;
    }
    return ::testing::AssertionSuccess();
  }

 private:
  static void note(const misuse_report& report, void* context) {
    auto& self = *static_cast<damage_log*>(context);
    seen_misuse seen;
    seen.kind = report.kind;
    seen.id = report.id;
    if (report.damage != nullptr) {
      const memory_damage& damage = *report.damage;
      seen.has_damage = true;
      seen.damage = damage;
      seen.name = damage.name;
      seen.allocated_at.assign(damage.allocated_at.begin(), damage.allocated_at.end());
      seen.freed_at.assign(damage.freed_at.begin(), damage.freed_at.end());
      seen.text = to_text(damage);
    }
    const std::lock_guard lock(self.mutex_);
    self.seen_.push_back(seen);
  }
  std::mutex mutex_;
  std::vector<seen_misuse> seen_;  // guarded by mutex_
};

/// Writes one byte that may not be written. Not inlined: compilers would see it. Checks of other
/// threads read the same byte meanwhile: that is what they are for, and no race to be told.
[[gnu::noinline, gnu::no_sanitize_thread]] inline void poke(void* data, std::ptrdiff_t offset,
                                                            unsigned char value = 0x11) {
  static_cast<volatile unsigned char*>(data)[offset] = value;
}
[[gnu::noinline]] inline unsigned char peek(const void* data, std::ptrdiff_t offset) {
  return static_cast<const volatile unsigned char*>(data)[offset];
}

inline std::ptrdiff_t signed_size(std::size_t bytes) {
  return static_cast<std::ptrdiff_t>(bytes);
}

}  // namespace tidepool::test
