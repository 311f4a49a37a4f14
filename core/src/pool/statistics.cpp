// SPDX-License-Identifier: Apache-2.0
//
// Sums statistics. It closes every front cache for a moment, so the sums are exact and the owners'
// counters need not be atomic.
#include "cache/timing_cost.hpp"
#include "pool/pool_core.hpp"
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

/// Counts and cached bytes of all lanes, by number, and latencies of all threads.
struct lane_sums {
  std::vector<std::array<class_counts, size_class_count>> counts;
  std::vector<std::size_t> cached;
  std::size_t threads = 0;
  latency_sums allocating;
  latency_sums freeing;
};

// Sums over all lanes and caches. All gates are closed and no thread can end meanwhile, so each
// operation is counted once.
[[nodiscard]] lane_sums sum_lanes(pool_core& core) {
  const std::size_t lane_total = core.lanes.count();
  lane_sums sums;
  sums.counts.resize(lane_total);
  sums.cached.resize(lane_total);
  cache_list::holder all(core.caches.list);
  sums.threads = all.count();
  sums.allocating = core.caches.sampler.sums(operation_kind::allocate);
  sums.freeing = core.caches.sampler.sums(operation_kind::free);
  all.close();
  all.for_each([&](front_cache& cache) {
    sums.allocating += cache.latency.sums(operation_kind::allocate);
    sums.freeing += cache.latency.sums(operation_kind::free);
    for (std::size_t i = 0; i < std::min(lane_total, cache.lanes); ++i) {
      thread_caches::publish(core.lanes.at(i), cache);
      cache.lane(i).for_each_used([&](unsigned size_class, magazine& m) {
        sums.counts[i][size_class - first_size_class] += m.counts();
        for (unsigned d = 1; d <= m.depth(); ++d) {
          sums.cached[i] += m.at(d)->capacity.load(std::memory_order_relaxed);
        }
      });
    }
  });
  core.lanes.for_each(
      [&](lane& where) {
        const std::lock_guard counts_lock(where.mutex);
        for (unsigned c = 0; c < size_class_count; ++c) {
          sums.counts[where.number][c] += where.counts[c];
        }
      },
      lane_total);
  return sums;
}

[[nodiscard]] device_statistics statistics_of(const device_entry& entry, const pool_core& core,
                                              const lane_sums& sums) noexcept {
  device_statistics d;
  d.where = entry.where;
  core.lanes.for_each(
      [&](const lane& where) {
        if (where.device != &entry) {
          return;
        }
        for (unsigned c = 0; c < size_class_count; ++c) {
          const auto category = size_category_of(size_of_class(c + first_size_class));
          add(d.by_size[static_cast<unsigned>(category)], sums.counts[where.number][c]);
        }
        d.cached_bytes += sums.cached[where.number];
      },
      sums.counts.size());
  for (const operation_counts& category : d.by_size) {
    add(d.total, category);
  }
  const memory_info memory = entry.source->memory(entry.where);
  d.reserved_bytes = entry.reserved.claimed();
  d.peak_reserved_bytes = entry.reserved.peak();
  d.cached_bytes += entry.kept_bytes();
  const std::size_t outside = memory.free_bytes + d.cached_bytes;
  d.live_bytes = memory.reserved_bytes - std::min(memory.reserved_bytes, outside);
  d.peak_live_bytes = entry.peak_live.load(std::memory_order_relaxed);
  d.limit_bytes = entry.reserved.limits().hard;
  d.soft_limit_bytes = entry.reserved.limits().soft;
  d.address_space_bytes = memory.address_space_bytes;
  d.system_calls = memory.system_calls;
  return d;
}

}  // namespace

tidepool::statistics pool_core::statistics() {
  const operation guard(*this);
  const lane_sums sums = sum_lanes(*this);
  tidepool::statistics answer;
  answer.threads = sums.threads;
  for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
    answer.devices.push_back(statistics_of(*entry, *this, sums));
    add(answer.total, answer.devices.back().total);
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
  answer.has_fences = !caches.gate();
  const timing_cost timing = cost_of_timing();
  answer.allocate = caches.sampler.mean(sums.allocating, answer.total.allocations, timing);
  answer.free = caches.sampler.mean(sums.freeing, answer.total.frees, timing);
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
