// SPDX-License-Identifier: Apache-2.0
//
// stream_uses: which lanes, other than their own, tensors are used in (pool::record_use). Of few
// tensors, so it is a map beside the records. Thread safety: one mutex; no call holds it outside.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

class stream_uses {
 public:
  using lanes = std::vector<std::uint16_t>;

  /// False: no memory; nothing changed. A use that is known already is not added twice.
  [[nodiscard]] bool add(std::uint32_t slot, std::uint16_t lane) noexcept;
  /// The lanes of a slot, which are forgotten.
  [[nodiscard]] lanes take(std::uint32_t slot) noexcept;
  /// Forgets a lane, and calls f(slot) for each slot that had it.
  template <class F>
  void forget(std::uint16_t lane, F&& f) noexcept {
    const std::lock_guard lock(mutex_);
    for (auto& [slot, used] : by_slot_) {
      if (std::erase(used, lane) != 0) {
        f(slot);
      }
    }
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::uint32_t, lanes> by_slot_;  // guarded by mutex_
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
