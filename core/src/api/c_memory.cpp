// SPDX-License-Identifier: Apache-2.0
//
// The C interface: devices, ticks, prewarming, statistics. c_limits.cpp has limits and trim.
#include "api/c_api.hpp"

#include <string>

namespace tidepool {
inline namespace v0 {
namespace detail {
namespace {

[[nodiscard]] tidepool_status prewarm(pool_core& core, const prewarm_plan& plan,
                                      tidepool_prewarm_report* report) noexcept {
  const result<prewarm_report> done = core.prewarm(plan);
  if (!done) {
    return record_error(done.error());
  }
  if (report != nullptr) {
    write_c_struct(tidepool_prewarm_report{.size = sizeof(tidepool_prewarm_report),
                                           .blocks = done->blocks,
                                           .bytes = done->bytes,
                                           .populated_bytes = done->populated_bytes},
                   report);
  }
  return TIDEPOOL_OK;
}

void add(tidepool_statistics& sum, const device_statistics& figures) noexcept {
  sum.allocations += figures.total.allocations;
  sum.frees += figures.total.frees;
  sum.front_hits += figures.total.front_hits;
  sum.ready_hits += figures.total.ready_hits;
  sum.refills += figures.total.refills;
  sum.requested_bytes += figures.total.requested_bytes;
  sum.live += figures.total.live;
  sum.reserved_bytes += figures.reserved_bytes;
  sum.peak_reserved_bytes += figures.peak_reserved_bytes;
  sum.live_bytes += figures.live_bytes;
  sum.cached_bytes += figures.cached_bytes;
  sum.system_calls += figures.system_calls;
}

}  // namespace
}  // namespace detail
}  // namespace v0
}  // namespace tidepool

using namespace tidepool;          // NOLINT: the functions below are outside of all namespaces
using namespace tidepool::detail;  // NOLINT

std::size_t tidepool_device_count(const tidepool_pool* pool) {
  return pool == nullptr ? 0 : pool->core->lanes.descriptions().size();
}

tidepool_status tidepool_describe_device(const tidepool_pool* pool, std::size_t index,
                                         tidepool_device_description* out) {
  if (const tidepool_status why = check_answer(pool, out); why != TIDEPOOL_OK) {
    return why;
  }
  if (index >= pool->core->lanes.descriptions().size()) {
    return fail(errc::invalid_argument, "the pool has fewer devices");
  }
  const device_description& from = pool->core->lanes.descriptions()[index];
  const auto flag = [](bool is) { return is ? std::uint8_t{1} : std::uint8_t{0}; };
  tidepool_device_description answer{.size = sizeof(tidepool_device_description),
                                     .alignment = from.alignment,
                                     .total_bytes = from.total_bytes,
                                     .where = from.where.bits(),
                                     .host_accessible = flag(from.host_accessible),
                                     .stream_ordered = flag(from.stream_ordered),
                                     .can_populate = flag(from.can_populate),
                                     .can_extend = flag(from.can_extend),
                                     .name = {}};
  (void)write_text(from.name, answer.name, sizeof answer.name);
  write_c_struct(answer, out);
  return TIDEPOOL_OK;
}

tidepool_status tidepool_tick(tidepool_pool* pool) {
  if (pool == nullptr) {
    return null_argument();
  }
  pool->core->tick();
  return TIDEPOOL_OK;
}

tidepool_status tidepool_thread_idle(tidepool_pool* pool) {
  if (pool == nullptr) {
    return null_argument();
  }
  pool->core->thread_idle();
  return TIDEPOOL_OK;
}

tidepool_status tidepool_prewarm(tidepool_pool* pool, tidepool_device where,
                                 const tidepool_prewarm_plan* plan,
                                 tidepool_prewarm_report* report) {
  if (pool == nullptr || plan == nullptr) {
    return null_argument();
  }
  tidepool_prewarm_plan read{};
  if (!read_c_struct(plan, read) || !is_writable_if_any(report)) {
    return bad_struct();
  }
  if (read.items == nullptr && read.item_count != 0) {
    return null_argument();
  }
  try {
    prewarm_plan wanted{.items = {},
                        .where = device::from_bits(where),
                        .populate = read.no_populate == 0,
                        .threads = read.threads};
    wanted.items.reserve(read.item_count);
    for (std::size_t i = 0; i < read.item_count; ++i) {
      wanted.items.push_back({read.items[i].bytes, read.items[i].count});
    }
    return prewarm(*pool->core, wanted, report);
  } catch (const std::exception&) {
    return fail(errc::out_of_memory, "reading a plan");
  }
}

tidepool_status tidepool_prewarm_seed(tidepool_pool* pool, tidepool_device where,
                                      tidepool_prewarm_report* report) {
  if (const tidepool_status why = check_report(pool, report); why != TIDEPOOL_OK) {
    return why;
  }
  try {
    return prewarm(*pool->core, prewarm_plan::seed(device::from_bits(where)), report);
  } catch (const std::exception&) {
    return fail(errc::out_of_memory, "making a plan");
  }
}

tidepool_status tidepool_memory(const tidepool_pool* pool, tidepool_device where,
                                tidepool_memory_info* out) {
  if (const tidepool_status why = check_answer(pool, out); why != TIDEPOOL_OK) {
    return why;
  }
  const device place = device::from_bits(where);
  const device_entry* const entry = pool->core->lanes.find(place);
  if (entry == nullptr) {
    return unknown_device(place);
  }
  const memory_info now = pool->core->memory(*entry);
  write_c_struct(tidepool_memory_info{.size = sizeof(tidepool_memory_info),
                                      .reserved_bytes = now.reserved_bytes,
                                      .free_bytes = now.free_bytes,
                                      .largest_free_bytes = now.largest_free_bytes,
                                      .address_space_bytes = now.address_space_bytes,
                                      .system_calls = now.system_calls,
                                      .pending_bytes = now.pending_bytes,
                                      .foreign_bytes = now.foreign_bytes},
                 out);
  return TIDEPOOL_OK;
}

tidepool_status tidepool_statistics_read(tidepool_pool* pool, tidepool_device where,
                                         tidepool_statistics* out) {
  if (const tidepool_status why = check_answer(pool, out); why != TIDEPOOL_OK) {
    return why;
  }
  const device place = device::from_bits(where);
  const bool all = place == placement::automatic;
  if (!all && pool->core->lanes.find(place) == nullptr) {
    return unknown_device(place);
  }
  try {
    const statistics now = pool->core->statistics();
    tidepool_statistics sum{};
    sum.size = sizeof sum;
    for (const device_statistics& figures : now.devices) {
      if (all || figures.where == place) {
        add(sum, figures);
      }
    }
    if (all) {
      sum.live = now.total.live;  // also what has no block: parts, adopted and empty tensors
    }
    sum.misuses = now.misuses;
    sum.failures = now.failures;
    sum.recalls = now.recalls;
    sum.threads = now.threads;
    sum.allocate_mean_ns = now.allocate.mean_ns;
    sum.free_mean_ns = now.free.mean_ns;
    sum.has_fences = now.has_fences ? 1 : 0;
    sum.live_without_block = now.live_without_block;
    write_c_struct(sum, out);
    return TIDEPOOL_OK;
  } catch (const std::exception&) {
    return fail(errc::out_of_memory, "reading statistics");
  }
}

std::size_t tidepool_statistics_text(tidepool_pool* pool, char* buffer, std::size_t size) {
  return write_made_text(pool, buffer, size, [&] { return to_text(pool->core->statistics()); });
}

std::size_t tidepool_statistics_json(tidepool_pool* pool, char* buffer, std::size_t size) {
  return write_made_text(pool, buffer, size, [&] { return to_json(pool->core->statistics()); });
}

const char* tidepool_verify(tidepool_pool* pool) {
  return pool == nullptr ? nullptr : pool->core->verify();
}
