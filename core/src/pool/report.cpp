// SPDX-License-Identifier: Apache-2.0
//
// Collecting a pool_report: one pass over all records, one over all front caches.
#include "pool/pool_core.hpp"
#include "pool/recall.hpp"
#include "text/suggestion.hpp"
#include <tidepool/report.hpp>

#include <algorithm>
#include <array>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

constexpr std::size_t most_names = 16;

struct sum {
  std::uint64_t tensors = 0;
  std::size_t bytes = 0;
};

/// Live tensors of one device.
struct census {
  std::size_t requested = 0;
  std::size_t inactive = 0;
  std::array<sum, 256> by_category;
  std::vector<sum> by_name;
};

void sort_by_bytes(auto& holdings) {
  std::sort(holdings.begin(), holdings.end(),
            [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
}

}  // namespace

pool_report pool_core::make_report(const status& failure) {
  const operation guard(*this);
  pool_report answer;
  answer.failure = failure.ok() ? incidents.events.last_failure() : failure;
  answer.limits = lanes.reserved.limits();
  answer.max_tensors = directory.slots.capacity();

  std::vector<census> live(lanes.devices().size());
  for (census& one : live) {
    one.by_name.resize(std::size_t{directory.names.last()} + 1);
  }
  const auto index_of = [this](device where) {
    std::size_t i = 0;
    while (i < lanes.devices().size() && lanes.devices()[i]->where != where) {
      ++i;
    }
    return i;
  };
  directory.for_each_tensor([&](const tensor_info& seen) {
    ++answer.tensors;
    if (!owns_block(seen)) {
      return;
    }
    census& of = live[index_of(seen.where)];
    of.requested += seen.bytes;
    of.inactive += seen.lifecycle == lifecycle::inactive ? seen.capacity : 0;
    sum& category = of.by_category[static_cast<std::uint8_t>(seen.category)];
    category.bytes += seen.capacity;
    ++category.tensors;
    if (seen.name.value() < of.by_name.size()) {
      sum& name = of.by_name[seen.name.value()];
      name.bytes += seen.capacity;
      ++name.tensors;
    }
  });

  answer.devices.resize(lanes.devices().size());
  {
    const std::lock_guard lock(registry_mutex_);
    for (device_report& d : answer.devices) {
      d.threads.reserve(cache_count_);
    }
    with_closed_gates([&](front_cache& cache) {
      for (std::size_t i = 0; i < std::min(cache.lanes, lanes.count()); ++i) {
        const lane& where = lanes.at(i);
        std::size_t bytes = 0;
        cache.lane(i).for_each_used([&](unsigned, const magazine& m) {
          for (unsigned d = 1; d <= m.depth(); ++d) {
            bytes += m.at(d)->capacity.load(std::memory_order_relaxed);
          }
        });
        device_report& d = answer.devices[index_of(where.device->where)];
        d.in_threads_bytes += bytes;
        if (bytes != 0 && !d.threads.empty() && d.threads.back().thread == cache.thread) {
          d.threads.back().bytes += bytes;
        } else if (bytes != 0) {
          d.threads.push_back({.thread = cache.thread, .bytes = bytes});
        }
      }
    });
  }

  for (std::size_t i = 0; i < lanes.devices().size(); ++i) {
    const device_entry& entry = *lanes.devices()[i];
    const memory_info memory = entry.source->memory(entry.where);
    device_report& d = answer.devices[i];
    d.where = entry.where;
    d.name = entry.description.name;
    d.total_bytes = entry.description.total_bytes;
    d.limits = entry.reserved.limits();
    d.reserved_bytes = entry.reserved.claimed();
    d.peak_reserved_bytes = entry.reserved.peak();
    d.requested_bytes = live[i].requested;
    d.inactive_bytes = live[i].inactive;
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
    for (unsigned c = 0; c < live[i].by_category.size(); ++c) {
      if (const sum& one = live[i].by_category[c]; one.tensors != 0) {
        d.by_category.push_back(
            {.name = std::string(directory.categories.name(static_cast<category>(c))),
             .tensors = one.tensors,
             .bytes = one.bytes});
      }
    }
    sort_by_bytes(d.by_category);
    std::vector<std::uint32_t> ids;
    for (std::uint32_t n = 0; n < live[i].by_name.size(); ++n) {
      if (live[i].by_name[n].tensors != 0) {
        ids.push_back(n);
      }
    }
    const std::size_t shown = std::min(most_names, ids.size());
    std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(shown), ids.end(),
                      [&](std::uint32_t a, std::uint32_t b) {
                        return live[i].by_name[a].bytes > live[i].by_name[b].bytes;
                      });
    for (std::size_t n = 0; n < shown; ++n) {
      const sum& one = live[i].by_name[ids[n]];
      d.by_name.push_back({.name = std::string(directory.names.text(name_id::from_value(ids[n]))),
                           .tensors = one.tensors,
                           .bytes = one.bytes});
    }
    sort_by_bytes(d.threads);
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
