// SPDX-License-Identifier: Apache-2.0
//
// Summing statistics: every front cache is closed for a moment, so the sums are exact and the
// owners' counters need not be atomic.
#include "pool/pool_core.hpp"
#include "pool/recall.hpp"
#include <tidepool/statistics.hpp>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

void add(operation_counts& to, const class_counts& from) noexcept {
  to.allocations += from.pops;
  to.frees += from.pushes;
  to.front_hits += from.pops - from.ready_hits - from.refills;
  to.ready_hits += from.ready_hits;
  to.refills += from.refills;
  to.requested_bytes += from.requested;
  to.live += from.pops - from.pushes;
}

void add(operation_counts& to, const operation_counts& from) noexcept {
  to.allocations += from.allocations;
  to.frees += from.frees;
  to.front_hits += from.front_hits;
  to.ready_hits += from.ready_hits;
  to.refills += from.refills;
  to.requested_bytes += from.requested_bytes;
  to.live += from.live;
}

}  // namespace

tidepool::statistics pool_core::statistics() {
  const operation guard(*this);
  tidepool::statistics answer;
  const std::size_t lane_total = lanes.count();
  std::vector<std::array<class_counts, size_class_count>> sums(lane_total);
  std::vector<std::size_t> cached(lane_total);
  {
    const std::lock_guard lock(registry_mutex_);
    answer.threads = cache_count_;
    with_closed_gates([&](front_cache& cache) {
      for (std::size_t i = 0; i < std::min(lane_total, cache.lanes); ++i) {
        publish(lanes.at(i), cache);
        cache.lane(i).for_each_used([&](unsigned size_class, magazine& m) {
          sums[i][size_class - first_size_class] += m.counts();
          for (unsigned d = 1; d <= m.depth(); ++d) {
            cached[i] += m.at(d)->capacity.load(std::memory_order_relaxed);
          }
        });
      }
    });
    for (std::size_t i = 0; i < lane_total; ++i) {
      lane& where = lanes.at(i);
      const std::lock_guard counts_lock(where.mutex);
      for (unsigned c = 0; c < size_class_count; ++c) {
        sums[i][c] += where.counts[c];
      }
    }
  }
  for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
    device_statistics d;
    d.where = entry->where;
    for (std::size_t i = 0; i < lane_total; ++i) {
      const lane& where = lanes.at(i);
      if (where.device != entry.get()) {
        continue;
      }
      for (unsigned c = 0; c < size_class_count; ++c) {
        const auto category = size_category_of(size_of_class(c + first_size_class));
        add(d.by_size[static_cast<unsigned>(category)], sums[i][c]);
      }
      d.cached_bytes += cached[i];
    }
    for (const operation_counts& category : d.by_size) {
      add(d.total, category);
    }
    const memory_info memory = entry->source->memory(entry->where);
    d.reserved_bytes = entry->reserved.claimed();
    d.peak_reserved_bytes = entry->reserved.peak();
    d.cached_bytes += entry->kept_bytes();
    const std::size_t outside = memory.free_bytes + d.cached_bytes;
    d.live_bytes = memory.reserved_bytes - std::min(memory.reserved_bytes, outside);
    d.peak_live_bytes = entry->peak_live.load(std::memory_order_relaxed);
    d.limit_bytes = entry->reserved.limits().hard;
    d.soft_limit_bytes = entry->reserved.limits().soft;
    d.address_space_bytes = memory.address_space_bytes;
    d.system_calls = memory.system_calls;
    add(answer.total, d.total);
    answer.devices.push_back(d);
  }
  answer.live_without_block = static_cast<std::uint64_t>(directory.loose());
  answer.total.live += answer.live_without_block;
  answer.reserved_bytes = lanes.reserved.claimed();
  answer.peak_reserved_bytes = lanes.reserved.peak();
  answer.limit_bytes = lanes.reserved.limits().hard;
  answer.soft_limit_bytes = lanes.reserved.limits().soft;
  answer.misuses = incidents.misuses();
  for (unsigned i = 0; i < misuse_kind_count; ++i) {
    answer.misuses_by_kind[i] = incidents.misuses_of(static_cast<misuse_kind>(i));
  }
  answer.failures = incidents.failures();
  answer.recalls = incidents.recalls();
  answer.retired_slots = directory.slots.retired();
  answer.has_fences = !has_gate_;
  const double ns = sampler.ns_per_tick();
  const std::uint64_t slow_allocations = answer.total.allocations - answer.total.front_hits;
  const std::uint64_t slow_frees =
      std::min(slow_frees_.load(std::memory_order_relaxed), answer.total.frees);
  answer.allocate = sampler.allocate.mean(answer.total.front_hits, slow_allocations, ns);
  answer.free = sampler.free.mean(answer.total.frees - slow_frees, slow_frees, ns);
  return answer;
}

}  // namespace detail

statistics statistics::since(const statistics& earlier) const {
  const auto subtract = [](operation_counts& to, const operation_counts& from) {
    to.allocations -= from.allocations;
    to.frees -= from.frees;
    to.front_hits -= from.front_hits;
    to.ready_hits -= from.ready_hits;
    to.refills -= from.refills;
  };
  statistics answer = *this;
  subtract(answer.total, earlier.total);
  for (std::size_t i = 0; i < answer.devices.size() && i < earlier.devices.size(); ++i) {
    device_statistics& d = answer.devices[i];
    subtract(d.total, earlier.devices[i].total);
    for (unsigned c = 0; c < size_category_count; ++c) {
      subtract(d.by_size[c], earlier.devices[i].by_size[c]);
    }
    d.system_calls -= earlier.devices[i].system_calls;
  }
  answer.misuses -= earlier.misuses;
  for (unsigned i = 0; i < misuse_kind_count; ++i) {
    answer.misuses_by_kind[i] -= earlier.misuses_by_kind[i];
  }
  answer.failures -= earlier.failures;
  answer.recalls -= earlier.recalls;
  return answer;
}

}  // namespace v0
}  // namespace tidepool
