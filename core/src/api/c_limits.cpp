// SPDX-License-Identifier: Apache-2.0
//
// The C interface: limits, trim, the report of a pool's memory.
#include "api/c_api.hpp"

#include <string>

namespace tidepool {
inline namespace v0 {
namespace detail {

tidepool_trim_report to_c(const trim_report& report) noexcept {
  return {.size = sizeof(tidepool_trim_report),
          .released_bytes = report.released_bytes,
          .reserved_bytes = report.reserved_bytes,
          .in_use_bytes = report.in_use_bytes,
          .pending_bytes = report.pending_bytes,
          .cached_bytes = report.cached_bytes,
          .stranded_bytes = report.stranded_bytes,
          .kept_by = report.kept_by};
}

namespace {

void write_if_any(const trim_report& done, tidepool_trim_report* report) noexcept {
  if (report != nullptr) {
    write_c_struct(to_c(done), report);
  }
}

}  // namespace
}  // namespace detail
}  // namespace v0
}  // namespace tidepool

using namespace tidepool;          // NOLINT: the functions below are outside of all namespaces
using namespace tidepool::detail;  // NOLINT

tidepool_status tidepool_trim(tidepool_pool* pool, tidepool_device where, std::size_t keep_bytes,
                              tidepool_trim_report* report) {
  if (const tidepool_status why = check_report(pool, report); why != TIDEPOOL_OK) {
    return why;
  }
  device_entry* const entry = pool->core->lanes.find(device::from_bits(where));
  if (entry == nullptr) {
    return unknown_device(device::from_bits(where));
  }
  write_if_any(pool->core->trim(*entry, keep_bytes), report);
  return TIDEPOOL_OK;
}

tidepool_status tidepool_trim_all(tidepool_pool* pool, std::size_t keep_bytes,
                                  tidepool_trim_report* report) {
  if (const tidepool_status why = check_report(pool, report); why != TIDEPOOL_OK) {
    return why;
  }
  write_if_any(pool->core->trim(keep_bytes), report);
  return TIDEPOOL_OK;
}

tidepool_status tidepool_set_limits(tidepool_pool* pool, tidepool_device where,
                                    const tidepool_limits* limits, tidepool_trim_report* report) {
  if (pool == nullptr || limits == nullptr) {
    return null_argument();
  }
  tidepool_limits wanted{.size = sizeof wanted, .hard = SIZE_MAX, .soft = SIZE_MAX};
  if (!read_c_struct(limits, wanted) || !is_writable_if_any(report)) {
    return bad_struct();
  }
  const device place = device::from_bits(where);
  device_entry* const entry = pool->core->lanes.find(place);
  if (entry == nullptr && place != placement::automatic) {
    return unknown_device(place);
  }
  write_if_any(pool->core->set_limits(entry, {.hard = wanted.hard, .soft = wanted.soft}), report);
  return TIDEPOOL_OK;
}

tidepool_status tidepool_limits_read(const tidepool_pool* pool, tidepool_device where,
                                     tidepool_limits* out) {
  if (const tidepool_status why = check_answer(pool, out); why != TIDEPOOL_OK) {
    return why;
  }
  const device place = device::from_bits(where);
  const device_entry* const entry = pool->core->lanes.find(place);
  if (entry == nullptr && place != placement::automatic) {
    return unknown_device(place);
  }
  const memory_limits now =
      entry == nullptr ? pool->core->lanes.reserved.limits() : entry->reserved.limits();
  write_c_struct(
      tidepool_limits{.size = sizeof(tidepool_limits), .hard = now.hard, .soft = now.soft}, out);
  return TIDEPOOL_OK;
}

tidepool_status tidepool_reset_peaks(tidepool_pool* pool) {
  if (pool == nullptr) {
    return null_argument();
  }
  pool->core->reset_peaks();
  return TIDEPOOL_OK;
}

std::size_t tidepool_report_text(tidepool_pool* pool, char* buffer, std::size_t size) {
  return write_made_text(pool, buffer, size, [&] { return to_text(pool->core->make_report({})); });
}

std::size_t tidepool_report_json(tidepool_pool* pool, char* buffer, std::size_t size) {
  return write_made_text(pool, buffer, size, [&] { return to_json(pool->core->make_report({})); });
}
