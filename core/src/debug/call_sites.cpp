// SPDX-License-Identifier: Apache-2.0
//
// call_site_table: unwinds the stack and keeps the table.
#include "debug/call_sites.hpp"

#include <unwind.h>

#include <algorithm>
#include <array>
#include <exception>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Most frames between the caller of tidepool and call_site_table::here. Builds without optimisation
// have more of them than others.
constexpr std::size_t most_own_frames = 12;

struct trail {
  std::array<void*, 16 + most_own_frames> addresses;
  std::size_t count = 0;
  std::size_t wanted = 0;
};

_Unwind_Reason_Code step(_Unwind_Context* context, void* argument) {
  auto& seen = *static_cast<trail*>(argument);
  const std::uintptr_t address = _Unwind_GetIP(context);
  if (address == 0 || seen.count == seen.wanted) {
    return _URC_END_OF_STACK;
  }
  seen.addresses[seen.count++] = reinterpret_cast<void*>(address);
  return _URC_NO_REASON;
}

}  // namespace

std::uint32_t call_site_table::here() noexcept {
  if (frames_ == 0) {
    return 0;
  }
  trail seen;
  seen.wanted = std::min(seen.addresses.size(), frames_ + most_own_frames);
  _Unwind_Backtrace(step, &seen);
  const auto addresses = std::span(seen.addresses).first(seen.count);
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, by words
  for (void* const address : addresses) {
    hash = (hash ^ reinterpret_cast<std::uint64_t>(address)) * 0x100000001b3;
  }
  const std::lock_guard lock(mutex_);
  try {
    const auto [first, last] = sites_.equal_range(hash);
    for (auto known = first; known != last; ++known) {
      const std::vector<void*>& other = places_[known->second - 1].addresses;
      if (std::equal(addresses.begin(), addresses.end(), other.begin(), other.end())) {
        return known->second;
      }
    }
    places_.push_back({.addresses = {addresses.begin(), addresses.end()}});
    const auto site = static_cast<std::uint32_t>(places_.size());
    sites_.emplace(hash, site);
    return site;
  } catch (const std::exception&) {
    return 0;
  }
}

std::span<void* const> call_site_table::frames(std::uint32_t site) noexcept {
  const std::lock_guard lock(mutex_);
  if (site == 0 || site > places_.size()) {
    return {};
  }
  place& found = places_[site - 1];
  if (!found.known) {
    try {
      found.own = symbols_.count_own(found.addresses);
    } catch (const std::exception&) {
      found.own = 0;
    }
    found.known = true;
  }
  const auto callers = std::span<void* const>(found.addresses).subspan(found.own);
  return callers.first(std::min<std::size_t>(callers.size(), frames_));
}

std::size_t call_site_table::count() const noexcept {
  const std::lock_guard lock(mutex_);
  return places_.size();
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
