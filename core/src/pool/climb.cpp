// SPDX-License-Identifier: Apache-2.0
//
// The out-of-memory ladder, once for all backends. Every rung leaves the pool as it was when it
// fails, and an allocation fails only from the top:
//   1. free blocks of all threads and ready lists go back to the backends, where they join
//   2. free memory of other shapes goes back to the system, as much as is needed, then all
//   3. the application's reclaim handler, with candidates and no lock held; then 1 again
//   4. the soft limits give way, and 1 to 3 are tried against the hard ones
#include "pool/pool_core.hpp"

#include <algorithm>
#include <array>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Ends the rounds of a handler that always claims to have freed something.
constexpr unsigned most_rounds = 32;

// An allocation by the handler must not call the handler again.
constinit thread_local bool this_thread_reclaims = false;

/// Raises a count while it lives.
class raised {
 public:
  explicit raised(std::atomic<std::uint32_t>& count) noexcept : count_(count) {
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  ~raised() { count_.fetch_sub(1, std::memory_order_relaxed); }
  raised(const raised&) = delete;
  raised& operator=(const raised&) = delete;

 private:
  std::atomic<std::uint32_t>& count_;
};

class past_soft_limit {
 public:
  past_soft_limit(budget& of_device, budget& of_pool) noexcept
      : device_(of_device), pool_(of_pool) {
    device_.suspend_soft();
    pool_.suspend_soft();
  }
  ~past_soft_limit() {
    pool_.resume_soft();
    device_.resume_soft();
  }
  past_soft_limit(const past_soft_limit&) = delete;
  past_soft_limit& operator=(const past_soft_limit&) = delete;

 private:
  budget& device_;
  budget& pool_;
};

[[nodiscard]] bool has_soft(const budget& checked) noexcept {
  const memory_limits limits = checked.limits();
  return limits.soft < limits.hard;
}

[[nodiscard]] std::size_t less(std::size_t from, std::size_t bytes) noexcept {
  return from - std::min(from, bytes);
}

// Refills from memory that the backends hold. If that fails, gives back free memory that stands in
// the way of growth, and grows.
[[nodiscard]] backend::refill_result refill_after_trim(pool_core& core, const block_demand& demand,
                                                       std::span<record*> one) noexcept {
  if (const auto made = core.stock.refill(demand, one, false); made.count != 0) {
    return made;
  }
  device_entry& device = *demand.where->device;
  const std::size_t needed = demand.bytes + demand.bytes / 16 + (std::size_t{2} << 20);
  (void)device.source->trim(device.where, less(device.reserved.bound(), needed));
  if (const auto made = core.stock.refill(demand, one, true); made.count != 0) {
    return made;
  }
  // Other devices may fill the pool's own limit, and free memory of other pools the system's.
  for (const std::unique_ptr<device_entry>& entry : core.lanes.devices()) {
    (void)entry->source->trim(entry->where, 0);
  }
  return core.stock.refill(demand, one, true);
}

// Finds the tensors that are best given up, best first. Returns how many it found.
[[nodiscard]] std::size_t find_candidates(const pool_core& core, device where,
                                          std::span<tensor_info> best) noexcept {
  const auto before = [&](const tensor_info& a, const tensor_info& b) {
    const unsigned pa = core.directory.categories.priority(a.category);
    const unsigned pb = core.directory.categories.priority(b.category);
    const bool active_a = a.lifecycle != lifecycle::inactive;
    const bool active_b = b.lifecycle != lifecycle::inactive;
    return pa != pb ? pa < pb : active_a != active_b ? active_b : a.capacity > b.capacity;
  };
  std::size_t count = 0;
  core.directory.for_each_tensor([&](const tensor_info& seen) {
    if (!owns_block(seen) || seen.where != where || seen.pins != 0 || seen.references != 1 ||
        core.directory.categories.priority(seen.category) == 255 ||
        (count == best.size() && !before(seen, best.back()))) {
      return;
    }
    const auto kept = best.first(count);
    const auto place = std::upper_bound(kept.begin(), kept.end(), seen, before);
    count += count < best.size() ? 1 : 0;
    const auto last = best.begin() + static_cast<std::ptrdiff_t>(count) - 1;
    std::move_backward(place, last, last + 1);
    *place = seen;
  });
  return count;
}

[[nodiscard]] bool reclaim(pool_core& core, const block_demand& demand, pressure why,
                           unsigned round) noexcept {
  if (core.settings.reclaim == nullptr || this_thread_reclaims) {
    return false;
  }
  const device where = demand.where->device->where;
  std::array<tensor_info, 64> best;
  const std::size_t count = find_candidates(core, where, best);
  this_thread_reclaims = true;
  const callback outside;
  const std::size_t freed = core.settings.reclaim({.why = why,
                                                   .where = where,
                                                   .bytes = demand.bytes,
                                                   .round = round,
                                                   .candidates = std::span(best).first(count)},
                                                  core.settings.reclaim_context);
  this_thread_reclaims = false;
  core.incidents.events.add(memory_event_kind::reclaimed, where, freed);
  return freed != 0;
}

}  // namespace

// Pre: the backend could not grow for lack of memory, budget or slots; `why` says which.
backend::refill_result pool_core::climb(const block_demand& demand, std::span<record*> out,
                                        const status& why) noexcept {
  const raised no_hoarding(stock.climbing);
  device_entry& device = *demand.where->device;
  const std::span<record*> one = out.first(1);
  backend::refill_result made{.count = 0, .why = why};
  if (why.code == errc::over_budget && (has_soft(device.reserved) || has_soft(lanes.reserved))) {
    for (unsigned round = 0; round < most_rounds; ++round) {
      (void)recall(true);
      made = refill_after_trim(*this, demand, one);
      if (made.count != 0 || !reclaim(*this, demand, pressure::soft_limit, round)) {
        break;
      }
    }
    if (made.count != 0) {
      return made;
    }
    incidents.events.add(memory_event_kind::soft_limit_passed, device.where, demand.bytes);
  }
  const past_soft_limit no_soft(device.reserved, lanes.reserved);
  bool willing = true;
  for (unsigned round = 0; round < most_rounds; ++round) {
    const std::size_t taken = recall(true);
    made = refill_after_trim(*this, demand, one);
    if (made.count != 0) {
      return made;
    }
    const pressure kind =
        made.why.code == errc::over_budget ? pressure::hard_limit : pressure::exhausted;
    willing = willing && reclaim(*this, demand, kind, round);
    // The handler freed nothing and no cache held a block, so all memory is in use.
    if (!willing && taken == 0) {
      break;
    }
  }
  return made;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
