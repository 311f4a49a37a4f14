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
    if (item.bytes > (std::size_t{1} << 47)) {
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
      std::size_t count = 0;
      const auto out = std::span(made).first(large ? 1 : std::min(missing, made.size()));
      const status why = refill(demand, out, count, true);
      if (count == 0) {
        return why;
      }
      std::array<block, largest_batch> blocks;
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < count; ++i) {
        blocks[i] = {made[i]->data.load(std::memory_order_relaxed),
                     made[i]->capacity.load(std::memory_order_relaxed),
                     slots.cold(*made[i]).cookie};
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

prewarm_plan prewarm_plan::seed(device where) {
  constexpr std::size_t kib = 1024;
  return {.items = {{4 * kib, 256},
                    {64 * kib, 128},
                    {512 * kib, 64},
                    {4096 * kib, 32},
                    {32768 * kib, 16}},
          .where = where};
}

prewarm_plan prewarm_plan::from_sizes(std::span<const std::ptrdiff_t> events, device where) {
  struct level {
    std::size_t now = 0;
    std::size_t most = 0;
    std::size_t largest = 0;
  };
  std::vector<level> levels(size_class_count);
  for (const std::ptrdiff_t event : events) {
    const auto bytes = event < 0 ? std::size_t{0} - static_cast<std::size_t>(event)
                                 : static_cast<std::size_t>(event);
    if (bytes == 0) {
      continue;
    }
    level& l = levels[size_class_of(bytes) - first_size_class];
    if (event > 0) {
      l.most = std::max(l.most, ++l.now);
      l.largest = std::max(l.largest, bytes);
    } else if (l.now != 0) {
      --l.now;
    }
  }
  prewarm_plan plan;
  plan.where = where;
  for (unsigned i = 0; i < size_class_count; ++i) {
    if (levels[i].most != 0) {
      plan.items.push_back({levels[i].largest, levels[i].most});
    }
  }
  return plan;
}

std::size_t prewarm_plan::total_bytes() const noexcept {
  std::size_t total = 0;
  for (const prewarm_item& item : items) {
    const std::size_t each = item.bytes == 0 ? 0
                             : item.bytes <= largest_small_block
                                 ? size_of_class(size_class_of(item.bytes))
                                 : item.bytes;
    std::size_t sum = 0;
    if (__builtin_mul_overflow(each, item.count, &sum) ||
        __builtin_add_overflow(total, sum, &total)) {
      return SIZE_MAX;
    }
  }
  return total;
}

}  // namespace v0
}  // namespace tidepool
