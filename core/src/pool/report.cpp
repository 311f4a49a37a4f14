// SPDX-License-Identifier: Apache-2.0
//
// Collecting a pool_report: one pass over all records, one over all front caches.
#include "pool/pool_core.hpp"
#include "text/suggestion.hpp"
#include <tidepool/report.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

constexpr std::size_t most_names = 16;

struct sum {
  std::uint64_t tensors = 0;
  std::size_t bytes = 0;

  void add(std::size_t more) noexcept {
    ++tensors;
    bytes += more;
  }
};

/// Live tensors of one device.
struct census {
  std::size_t requested = 0;
  std::size_t inactive = 0;
  std::array<sum, 256> by_category;
  std::vector<sum> by_name;

  void add(const tensor_info& seen) noexcept {
    requested += seen.bytes;
    inactive += seen.lifecycle == lifecycle::inactive ? seen.capacity : 0;
    by_category[static_cast<std::uint8_t>(seen.category)].add(seen.capacity);
    if (seen.name.value() < by_name.size()) {
      by_name[seen.name.value()].add(seen.capacity);
    }
  }
};

void sort_by_bytes(auto& holdings) {
  std::sort(holdings.begin(), holdings.end(),
            [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
}

// Counts live tensors by the number of their device; `tensors` becomes the number of all of them.
[[nodiscard]] std::vector<census> count_live(const pool_core& core, std::uint64_t& tensors) {
  std::vector<census> live(core.lanes.devices().size());
  for (census& one : live) {
    one.by_name.resize(std::size_t{core.directory.names.last()} + 1);
  }
  core.directory.for_each_tensor([&](const tensor_info& seen) {
    ++tensors;
    if (owns_block(seen)) {
      live[core.lanes.find(seen.where)->number].add(seen);
    }
  });
  return live;
}

// Adds the bytes that each thread keeps ready to the reports, by the number of the device.
void count_kept_by_threads(pool_core& core, std::span<device_report> devices) {
  cache_list::holder all(core.caches.list);
  for (device_report& d : devices) {
    d.threads.reserve(all.count());  // so that nothing is allocated while gates are closed
  }
  all.close();
  all.for_each([&](front_cache& cache) {
    core.lanes.for_each(
        [&](const lane& where) {
          std::size_t bytes = 0;
          cache.lane(where.number).for_each_used([&](unsigned, const magazine& m) {
            for (unsigned depth = 1; depth <= m.depth(); ++depth) {
              bytes += m.at(depth)->capacity.load(std::memory_order_relaxed);
            }
          });
          device_report& d = devices[where.device->number];
          d.in_threads_bytes += bytes;
          if (bytes != 0 && !d.threads.empty() && d.threads.back().thread == cache.thread) {
            d.threads.back().bytes += bytes;
          } else if (bytes != 0) {
            d.threads.push_back({.thread = cache.thread, .bytes = bytes});
          }
        },
        cache.lanes);
  });
}

// Adds the memory figures of a device, which add up:
//   reserved == live + in threads + ready + free.
// Pre: in_threads_bytes is set.
[[nodiscard]] device_report with_memory(device_report d, const device_entry& entry) {
  const memory_info memory = entry.source->memory(entry.where);
  d.where = entry.where;
  d.name = entry.description.name;
  d.total_bytes = entry.description.total_bytes;
  d.limits = entry.reserved.limits();
  d.reserved_bytes = entry.reserved.claimed();
  d.peak_reserved_bytes = entry.reserved.peak();
  d.ready_bytes = entry.kept_bytes();
  d.free_bytes = memory.free_bytes;
  d.pending_bytes = std::min(memory.pending_bytes, memory.free_bytes);
  d.arena_bytes = entry.arena_bytes.load(std::memory_order_relaxed);
  d.foreign_bytes = memory.foreign_bytes;
  d.largest_free_bytes = std::min(memory.largest_free_bytes, memory.free_bytes);
  const std::size_t outside = d.in_threads_bytes + d.ready_bytes + d.free_bytes;
  d.live_bytes = d.reserved_bytes - std::min(d.reserved_bytes, outside);
  d.fragmentation = d.free_bytes == 0 ? 0.0
                                      : 1.0 - static_cast<double>(d.largest_free_bytes) /
                                                  static_cast<double>(d.free_bytes);
  return d;
}

// Adds the holders of the device's memory: all categories, and the names that hold the most.
[[nodiscard]] device_report with_holders(device_report d, const pool_core& core,
                                         const census& live) {
  d.requested_bytes = live.requested;
  d.inactive_bytes = live.inactive;
  for (unsigned c = 0; c < live.by_category.size(); ++c) {
    if (const sum& one = live.by_category[c]; one.tensors != 0) {
      d.by_category.push_back(
          {.name = std::string(core.directory.categories.name(static_cast<category>(c))),
           .tensors = one.tensors,
           .bytes = one.bytes});
    }
  }
  sort_by_bytes(d.by_category);
  std::vector<std::uint32_t> ids;
  for (std::uint32_t n = 0; n < live.by_name.size(); ++n) {
    if (live.by_name[n].tensors != 0) {
      ids.push_back(n);
    }
  }
  const std::size_t shown = std::min(most_names, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(shown), ids.end(),
                    [&](std::uint32_t a, std::uint32_t b) {
                      return live.by_name[a].bytes > live.by_name[b].bytes;
                    });
  for (const std::uint32_t id : std::span(ids).first(shown)) {
    const sum& one = live.by_name[id];
    d.by_name.push_back({.name = std::string(core.directory.names.text(name_id::from_value(id))),
                         .tensors = one.tensors,
                         .bytes = one.bytes});
  }
  sort_by_bytes(d.threads);
  return d;
}

}  // namespace

// Reports about `failure`, or about the pool's last failure if its code is ok. Throws
// std::bad_alloc.
pool_report pool_core::make_report(const status& failure) {
  const operation guard(*this);
  pool_report answer;
  answer.failure = failure.ok() ? incidents.events.last_failure() : failure;
  answer.limits = lanes.reserved.limits();
  answer.max_tensors = directory.slots.capacity();
  const std::vector<census> live = count_live(*this, answer.tensors);
  answer.devices.resize(lanes.devices().size());
  count_kept_by_threads(*this, answer.devices);
  for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
    device_report& d = answer.devices[entry->number];
    d = with_holders(with_memory(std::move(d), *entry), *this, live[entry->number]);
  }
  answer.reserved_bytes = lanes.reserved.claimed();
  answer.peak_reserved_bytes = lanes.reserved.peak();
  answer.events = incidents.events.copy();
  answer.suggestion = suggestion_for(answer);
  return answer;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
