// SPDX-License-Identifier: Apache-2.0
//
// Memory as a whole: recall, trim, limits, tick.
#include "debug/layer.hpp"
#include "pool/pool_core.hpp"
#include "pool/this_thread.hpp"

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

void add(trim_report& sum, const trim_report& one) noexcept {
  sum.released_bytes += one.released_bytes;
  sum.reserved_bytes += one.reserved_bytes;
  sum.in_use_bytes += one.in_use_bytes;
  sum.pending_bytes += one.pending_bytes;
  sum.cached_bytes += one.cached_bytes;
  sum.stranded_bytes += one.stranded_bytes;
}

// Returns a sentence about the largest part of the reserved bytes.
[[nodiscard]] const char* keeper_of(const trim_report& report) noexcept {
  const std::size_t most = std::max(
      {report.in_use_bytes, report.pending_bytes, report.cached_bytes, report.stranded_bytes});
  return most == report.in_use_bytes ? "live tensors hold the rest"
         : most == report.pending_bytes
             ? "streams have not come to the frees of the rest: synchronise them"
         : most == report.cached_bytes
             ? "other threads freed the rest meanwhile: trim again"
             : "the rest is free, but in pages or slabs that live tensors stand in too";
}

[[nodiscard]] trim_report measure(const device_entry& where) noexcept {
  const memory_info now = where.source->memory(where.where);
  std::size_t left = now.reserved_bytes;
  const auto part = [&left](std::size_t bytes) {
    bytes = std::min(bytes, left);  // these figures are read later than the sum and may exceed it
    left -= bytes;
    return bytes;
  };
  trim_report report;
  report.reserved_bytes = now.reserved_bytes;
  const std::size_t pending = std::min(now.pending_bytes, now.free_bytes);
  report.stranded_bytes = part(now.free_bytes - pending);
  report.pending_bytes = part(pending);
  report.cached_bytes = part(where.kept_bytes());
  report.in_use_bytes = left;
  return report;
}

}  // namespace

// Gives all free blocks of all threads and ready lists back to the backends. Returns their bytes.
std::size_t pool_core::recall(bool reserves_too) noexcept {
  caches.drain_all();
  std::size_t taken = stock.drain_ready(reserves_too);
  if (debug != nullptr) [[unlikely]] {
    taken += shrink_quarantine(0);
    (void)stock.drain_ready(reserves_too);  // the quarantine's blocks went to the ready lists
  }
  incidents.recalled(taken);
  return taken;
}

trim_report pool_core::trim(device_entry& where, std::size_t keep_bytes) noexcept {
  const operation guard(*this);
  std::size_t released = 0;
  if (where.reserved.claimed() > keep_bytes) {
    (void)recall(true);
    released = where.source->trim(where.where, keep_bytes);
    incidents.events.add(memory_event_kind::trimmed, where.where, released);
  }
  trim_report report = measure(where);
  report.released_bytes = released;
  report.kept_by = report.reserved_bytes > keep_bytes ? keeper_of(report) : nullptr;
  return report;
}

trim_report pool_core::trim(std::size_t keep_bytes) noexcept {
  trim_report sum;
  bool is_met = true;
  for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
    const trim_report one = trim(*entry, keep_bytes);
    is_met = is_met && one.kept_by == nullptr;
    add(sum, one);
  }
  sum.kept_by = is_met ? nullptr : keeper_of(sum);
  return sum;
}

trim_report pool_core::set_limits(device_entry* where, const memory_limits& limits) noexcept {
  const operation guard(*this);
  if (where != nullptr) {
    where->reserved.set(limits);
    incidents.events.add(memory_event_kind::limits_set, where->where, limits.hard);
    return trim(*where, where->reserved.limits().soft);
  }
  lanes.reserved.set(limits);
  incidents.events.add(memory_event_kind::limits_set, {}, limits.hard);
  const std::size_t bound = lanes.reserved.limits().soft;
  trim_report sum;
  for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
    const std::size_t claimed = lanes.reserved.claimed();
    const std::size_t own = entry->reserved.claimed();
    add(sum,
        claimed > bound ? trim(*entry, own - std::min(own, claimed - bound)) : measure(*entry));
  }
  sum.kept_by = sum.reserved_bytes > bound ? keeper_of(sum) : nullptr;
  return sum;
}

void pool_core::reset_peaks() noexcept {
  const operation guard(*this);
  lanes.reserved.reset_peak();
  for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
    entry->reserved.reset_peak();
    entry->peak_live.store(entry->live_bytes.load(std::memory_order_relaxed),
                           std::memory_order_relaxed);
  }
}

memory_info pool_core::memory(const device_entry& device) noexcept {
  const operation guard(*this);
  return device.source->memory(device.where);
}

// Gives memory back that was not used since the last tick: the caches of threads that did nothing,
// and memory that the backends held for long enough.
void pool_core::tick() noexcept {
  const operation guard(*this);
  caches.drain_idle();
  for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
    (void)entry->source->decay(entry->where);
  }
}

void pool_core::thread_idle() noexcept {
  const operation guard(*this);
  if (front_cache* const cache = find_this_thread(caches)) {
    caches.drain_own(*cache);
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
