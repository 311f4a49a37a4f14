// SPDX-License-Identifier: Apache-2.0
//
// Memory as a whole: trim, tick, prewarm.
#include "pool_core.hpp"
#include "thread_caches.hpp"
#include <tidepool/prewarm.hpp>

#include <algorithm>
#include <exception>
#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

trim_report pool_core::trim(device_entry& where, std::size_t keep_bytes) noexcept {
  const use guard(*this);
  trim_report report;
  if (where.claimed.load(std::memory_order_relaxed) > keep_bytes) {
    recall(true);
    report.released_bytes = where.source->trim(where.where, keep_bytes);
  }
  const memory_info now = where.source->memory(where.where);
  report.reserved_bytes = now.reserved_bytes;
  report.in_use_bytes = now.reserved_bytes - std::min(now.free_bytes, now.reserved_bytes);
  return report;
}

memory_info pool_core::memory(const device_entry& of) noexcept {
  const use guard(*this);
  return of.source->memory(of.where);
}

void pool_core::tick() noexcept {
  const use guard(*this);
  for (const std::unique_ptr<device_entry>& entry : devices_) {
    (void)entry->source->decay(entry->where);
  }
}

result<prewarm_report> pool_core::prewarm(const prewarm_plan& plan) noexcept {
  const use guard(*this);
  prewarm_report report;
  allocation_request probe{.bytes = 1, .where = plan.where};
  lane* where = nullptr;
  if (const status why = check_request(probe, where); !why.ok()) {
    return why;
  }
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
    const std::size_t rounded = (item.bytes + device.alignment - 1) & ~(device.alignment - 1);
    const unsigned size_class = size_class_of(rounded);
    const bool large = size_class > last_small_class;
    const block_demand demand{.where = where,
                              .bytes = large ? rounded : size_of_class(size_class),
                              .alignment = device.alignment,
                              .size_class = size_class,
                              .long_lived = false};
    ready_list& list = where->ready_of(size_class);
    // Ready blocks count; what threads hold does not, it is theirs.
    std::size_t missing = item.count - std::min(item.count, list.count());
    list.raise_reserve(item.count);
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
        blocks[i] = slots.block_of(*made[i]);
        bytes += blocks[i].bytes;
      }
      if (plan.populate) {
        report.populated_bytes +=
            device.source->populate(plan.where, std::span(blocks).first(count), threads);
      }
      device.ready_bytes.fetch_add(bytes, std::memory_order_relaxed);
      (void)list.put(out.first(count));
      report.blocks += count;
      report.bytes += bytes;
      missing -= std::min(missing, count);
    }
  }
  return report;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
