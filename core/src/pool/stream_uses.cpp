// SPDX-License-Identifier: Apache-2.0
//
// stream_uses: enters uses and takes them out.
#include "pool/stream_uses.hpp"

#include <algorithm>
#include <exception>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace detail {

bool stream_uses::add(std::uint32_t slot, std::uint16_t lane) noexcept {
  const std::lock_guard lock(mutex_);
  try {
    lanes& used = by_slot_[slot];
    if (std::find(used.begin(), used.end(), lane) == used.end()) {
      used.push_back(lane);
    }
    return true;
  } catch (const std::exception&) {
    // The entry may have been made for this use alone.
    if (const auto found = by_slot_.find(slot); found != by_slot_.end() && found->second.empty()) {
      by_slot_.erase(found);
    }
    return false;
  }
}

void stream_uses::add_untold(std::uint32_t slot) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = by_slot_.find(slot);
  if (found == by_slot_.end()) {
    return;
  }
  if (found->second.empty()) {
    by_slot_.erase(found);
  } else {
    found->second.front() = untold;
    found->second.erase(found->second.begin() + 1, found->second.end());
  }
}

std::optional<stream_uses::lanes> stream_uses::take(std::uint32_t slot) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = by_slot_.find(slot);
  if (found == by_slot_.end()) {
    return std::nullopt;
  }
  lanes used = std::move(found->second);
  by_slot_.erase(found);
  return used;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
