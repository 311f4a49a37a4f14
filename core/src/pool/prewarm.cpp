// SPDX-License-Identifier: Apache-2.0
//
// Pre-warming: makes blocks, populates them and keeps them in ready lists before they are needed.
#include "pool/pool_core.hpp"
#include <tidepool/prewarm.hpp>

#include <algorithm>
#include <array>
#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

/// Makes the blocks of one plan in one lane and fills in the report.
class prewarming {
 public:
  prewarming(pool_core& core, lane& where, unsigned populating_threads) noexcept
      : core_(core), where_(where), threads_(populating_threads) {}

  /// Blocks that were made before a failure stay ready.
  [[nodiscard]] status make_ready(const prewarm_item& item) noexcept;
  [[nodiscard]] const prewarm_report& report() const noexcept { return report_; }

 private:
  void populate(std::span<record* const> slots) noexcept;

  pool_core& core_;
  lane& where_;
  const unsigned threads_;  // 0: blocks are not populated
  prewarm_report report_;
};

status prewarming::make_ready(const prewarm_item& item) noexcept {
  device_entry& device = *where_.device;
  block_demand demand =
      demand_for(where_, core_.footprint_of(device, {item.bytes, device.alignment}));
  const bool large = demand.size_class > last_small_class;
  demand.bytes = large ? demand.bytes : size_of_class(demand.size_class);
  ready_list& list = where_.ready_of(demand.size_class);
  // Blocks that are ready already count. Blocks in threads' caches do not: only their threads can
  // use them.
  std::size_t missing = item.count - std::min(item.count, list.count());
  // The reserve grows with the blocks, so that after a failure it is no larger than what was made.
  list.raise_reserve(item.count - missing);
  while (missing != 0) {
    std::array<record*, largest_batch> made;
    const auto out = std::span(made).first(large ? 1 : std::min(missing, made.size()));
    const auto [count, why] = core_.stock.refill(demand, out, true);
    if (count == 0) {
      return why;
    }
    std::size_t bytes = 0;
    for (const record* const slot : out.first(count)) {
      bytes += slot->capacity.load(std::memory_order_relaxed);
    }
    if (threads_ != 0) {
      populate(out.first(count));
    }
    device.ready_bytes.fetch_add(bytes, std::memory_order_relaxed);
    missing -= std::min(missing, count);
    list.raise_reserve(item.count - missing);
    (void)list.put(out.first(count));
    report_.blocks += count;
    report_.bytes += bytes;
  }
  return {};
}

void prewarming::populate(std::span<record* const> slots) noexcept {
  const device_entry& device = *where_.device;
  std::array<block, largest_batch> held;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    held[i] = core_.directory.slots.block_of(*slots[i]);
  }
  report_.populated_bytes +=
      device.source->populate(device.where, std::span(held).first(slots.size()), threads_);
}

}  // namespace

result<prewarm_report> pool_core::prewarm(const prewarm_plan& plan) noexcept {
  const operation guard(*this);
  allocation_request probe{.bytes = 1, .where = plan.where};
  const result<lane*> found = check_request(probe);
  if (!found) {
    return found.error();
  }
  const unsigned threads =
      plan.threads != 0 ? plan.threads : std::clamp(std::thread::hardware_concurrency(), 1U, 8U);
  prewarming made(*this, **found, plan.populate ? threads : 0);
  for (const prewarm_item& item : plan.items) {
    if (item.bytes == 0 || item.count == 0) {
      continue;
    }
    if (item.bytes > largest_request) {
      return status{.code = errc::out_of_memory, .requested = item.bytes, .where = plan.where};
    }
    if (const status why = made.make_ready(item); !why.ok()) {
      return why;
    }
  }
  incidents.events.add(memory_event_kind::prewarmed, plan.where, made.report().bytes);
  return made.report();
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
