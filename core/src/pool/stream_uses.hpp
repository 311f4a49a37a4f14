// SPDX-License-Identifier: Apache-2.0
//
// stream_uses: for each tensor, the lanes other than its own that use it (pool::record_use). Few
// tensors have such uses, so this is a map beside the records. Thread safety: one mutex, which is
// held inside the calls only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

class stream_uses {
 public:
  /// Stands for a stream without a lane.
  static constexpr std::uint16_t untold = 0xffff;
  using lanes = std::vector<std::uint16_t>;

  /// False: no memory; nothing changed. A use that is known already is not added twice.
  [[nodiscard]] bool add(std::uint32_t slot, std::uint16_t lane) noexcept;
  /// Adds `untold` instead of a lane for which there is no memory. It covers all lanes that the
  /// slot had. A slot without an entry keeps none, which says the same: see take.
  void add_untold(std::uint32_t slot) noexcept;
  /// Returns the lanes of a slot and forgets them. Without an entry: nothing.
  [[nodiscard]] std::optional<lanes> take(std::uint32_t slot) noexcept;
  /// Forgets a lane. f(slot) is called for each slot that had it, and answers what the slot has
  /// instead, if anything.
  template <class F>
  void forget(std::uint16_t lane, F&& f) noexcept {
    const std::lock_guard lock(mutex_);
    for (auto& [slot, used] : by_slot_) {
      const auto found = std::find(used.begin(), used.end(), lane);
      if (found == used.end()) {
        continue;
      }
      if (const std::optional<std::uint16_t> instead = f(slot)) {
        *found = *instead;
      } else {
        used.erase(found);
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
