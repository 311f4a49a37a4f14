// SPDX-License-Identifier: Apache-2.0
//
// The C interface: misuse reports and debug modes.
#include "api/c_api.hpp"

#include <string>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

void call_leak_handler(const leak_report& report, void* context) {
  const tidepool_pool_options& options = static_cast<tidepool_pool*>(context)->options;
  try {
    options.on_leaks(to_text(report).c_str(), options.leaks_context);
  } catch (const std::exception&) {
    options.on_leaks("no memory to report leaks", options.leaks_context);
  }
}

[[nodiscard]] std::string details_of(const memory_damage& damage) noexcept {
  try {
    return to_text(damage);
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace

void call_misuse_handler(const misuse_report& report, void* context) {
  const tidepool_pool_options& options = static_cast<tidepool_pool*>(context)->options;
  tidepool_misuse_report seen{};
  seen.size = sizeof seen;
  seen.id = report.id.value();
  seen.count = report.count;
  seen.text = report.text;
  seen.kind = static_cast<std::uint32_t>(report.kind);
  if (report.damage == nullptr) {
    options.on_misuse(&seen, options.misuse_context);
    return;
  }
  const memory_damage& damage = *report.damage;
  const std::string details = details_of(damage);
  seen.data = damage.data;
  seen.bytes = damage.bytes;
  seen.offset = damage.offset;
  seen.damaged_bytes = damage.damaged_bytes;
  seen.name = c_string(damage.name);
  seen.details = details.c_str();
  options.on_misuse(&seen, options.misuse_context);
}

bool has_valid_debug_modes(const tidepool_pool_options& options) noexcept {
  return options.debug_reserved == 0 && options.debug_guard <= TIDEPOOL_GUARD_PAGES;
}

debug_options debug_options_of(tidepool_pool& handle) noexcept {
  const tidepool_pool_options& from = handle.options;
  return {.poison = from.debug_poison != 0,
          .guard = static_cast<guard_mode>(from.debug_guard),
          .quarantine_bytes = from.debug_quarantine_bytes,
          .call_site_frames = from.debug_call_site_frames,
          .report_leaks = from.debug_report_leaks != 0,
          .on_leaks = from.on_leaks == nullptr ? nullptr : call_leak_handler,
          .leaks_context = &handle};
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool

using namespace tidepool;          // NOLINT: the functions below are outside of all namespaces
using namespace tidepool::detail;  // NOLINT

tidepool_status tidepool_check_memory(tidepool_pool* pool, std::size_t* damages) {
  if (pool == nullptr) {
    return null_argument();
  }
  const std::size_t found = pool->core->check_memory();
  if (damages != nullptr) {
    *damages = found;
  }
  return TIDEPOOL_OK;
}

std::size_t tidepool_leaks_text(tidepool_pool* pool, char* buffer, std::size_t size) {
  if (pool == nullptr || (buffer == nullptr && size != 0)) {
    (void)null_argument();
    return 0;
  }
  try {
    return write_text(to_text(pool->core->leaks()), buffer, size);
  } catch (const std::exception&) {
    (void)fail(errc::out_of_memory, "reporting leaks");
    return 0;
  }
}
