// SPDX-License-Identifier: Apache-2.0
//
// Memory as a whole: limits, trim, tick, prewarm.
#include "debug/layer.hpp"
#include "pool/pool_core.hpp"
#include "pool/recall.hpp"
#include "pool/thread_caches.hpp"
#include <tidepool/prewarm.hpp>

#include <algorithm>
#include <exception>
#include <thread>

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

// What kept the most of what is reserved.
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

}  // namespace

trim_report pool_core::measure(const device_entry& where) noexcept {
  const memory_info now = where.source->memory(where.where);
  std::size_t rest = now.reserved_bytes;
  const auto part = [&rest](std::size_t bytes) {
    bytes = std::min(bytes, rest);  // figures of a moment later than the sum
    rest -= bytes;
    return bytes;
  };
  trim_report report;
  report.reserved_bytes = now.reserved_bytes;
  const std::size_t pending = std::min(now.pending_bytes, now.free_bytes);
  report.stranded_bytes = part(now.free_bytes - pending);
  report.pending_bytes = part(pending);
  report.cached_bytes = part(where.kept_bytes());
  report.in_use_bytes = rest;
  return report;
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

memory_info pool_core::memory(const device_entry& of) noexcept {
  const operation guard(*this);
  return of.source->memory(of.where);
}

// What nobody used since the last tick goes back: the caches of threads that did nothing, and what
// the backends' own clocks say.
void pool_core::tick() noexcept {
  const operation guard(*this);
  {
    const std::lock_guard lock(registry_mutex_);
    with_closed_gates([this](front_cache& cache) {
      std::uint64_t operations = 0;
      for (std::size_t i = 0; i < cache.lanes; ++i) {
        cache.lane(i).for_each_used(
            [&](unsigned, const magazine& m) { operations += m.pops() + m.pushes(); });
      }
      if (operations == cache.operations) {
        drain(cache);
      }
      cache.operations = operations;
    });
  }
  for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
    (void)entry->source->decay(entry->where);
  }
}

result<prewarm_report> pool_core::prewarm(const prewarm_plan& plan) noexcept {
  const operation guard(*this);
  prewarm_report report;
  allocation_request probe{.bytes = 1, .where = plan.where};
  const result<lane*> found = check_request(probe);
  if (!found) {
    return found.error();
  }
  lane* const where = *found;
  device_entry& device = *where->device;
  const unsigned threads =
      plan.threads != 0 ? plan.threads : std::clamp(std::thread::hardware_concurrency(), 1U, 8U);
  for (const prewarm_item& item : plan.items) {
    if (item.bytes == 0 || item.count == 0) {
      continue;
    }
    if (item.bytes > largest_request) {
      return status{.code = errc::out_of_memory, .requested = item.bytes, .where = plan.where};
    }
    const footprint room = footprint_of(device, {item.bytes, device.alignment});
    const std::size_t rounded = (room.bytes + room.alignment - 1) & ~(room.alignment - 1);
    const unsigned size_class = size_class_of(rounded);
    const bool large = size_class > last_small_class;
    const block_demand demand{.where = where,
                              .bytes = large ? rounded : size_of_class(size_class),
                              .alignment = room.alignment,
                              .size_class = size_class,
                              .long_lived = false};
    ready_list& list = where->ready_of(size_class);
    // Ready blocks count; what threads hold does not, it is theirs.
    std::size_t missing = item.count - std::min(item.count, list.count());
    // Grows with the blocks: after a failure no more is kept than was made.
    list.raise_reserve(item.count - missing);
    while (missing != 0) {
      std::array<record*, largest_batch> made;
      const auto out = std::span(made).first(large ? 1 : std::min(missing, made.size()));
      const auto [count, why] = refill(demand, out, true);
      if (count == 0) {
        return why;
      }
      std::array<block, largest_batch> blocks;
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < count; ++i) {
        blocks[i] = directory.slots.block_of(*made[i]);
        bytes += blocks[i].bytes;
      }
      if (plan.populate) {
        report.populated_bytes +=
            device.source->populate(plan.where, std::span(blocks).first(count), threads);
      }
      device.ready_bytes.fetch_add(bytes, std::memory_order_relaxed);
      missing -= std::min(missing, count);
      list.raise_reserve(item.count - missing);
      (void)list.put(out.first(count));
      report.blocks += count;
      report.bytes += bytes;
    }
  }
  incidents.events.add(memory_event_kind::prewarmed, plan.where, report.bytes);
  return report;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
