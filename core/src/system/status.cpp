// SPDX-License-Identifier: Apache-2.0
//
// Errors as text and as exceptions; the failed assertion; the version.
#include "system/format.hpp"
#include <tidepool/assert.hpp>
#include <tidepool/error.hpp>
#include <tidepool/report.hpp>
#include <tidepool/result.hpp>
#include <tidepool/version.hpp>

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace tidepool {
inline namespace v0 {

const char* version() noexcept {
  return "0.1.0";
}
static_assert(version_major == 0 && version_minor == 1 && version_patch == 0);

const char* describe(errc code) noexcept {
  switch (code) {
  case errc::ok:
    return "ok";
  case errc::out_of_memory:
    return "out of memory";
  case errc::over_budget:
    return "over the limit";
  case errc::invalid_argument:
    return "invalid argument";
  case errc::unknown_device:
    return "unknown device";
  case errc::stale_id:
    return "stale or foreign tensor id";
  case errc::key_in_use:
    return "key in use";
  case errc::not_found:
    return "not found";
  case errc::unsupported:
    return "not supported by the backend";
  case errc::backend_unavailable:
    return "backend unavailable";
  case errc::device_lost:
    return "device lost";
  case errc::driver_error:
    return "system or driver call failed";
  case errc::closed:
    return "the pool is closed";
  case errc::too_many:
    return "a table is full";
  case errc::stream_captures:
    return "the stream is being captured";
  }
  return "unknown error code";
}

std::string to_string(const status& why) {
  std::string out = describe(why.code);
  if (why.requested != 0) {
    detail::append(out, ": %zu bytes on %s", why.requested, detail::device_name(why.where).c_str());
  } else if (why.code == errc::unknown_device) {
    detail::append(out, ": %s", detail::device_name(why.where).c_str());
  }
  if (why.text != nullptr) {
    detail::append(out, ": %s", why.text);
  }
  if (why.native != 0) {
    detail::append(out, " (native code %d)", static_cast<int>(why.native));
  }
  return out;
}

error::error(const status& why) : std::runtime_error("tidepool: " + to_string(why)), why_(why) {}
error::~error() = default;

out_of_memory::out_of_memory(const status& why, std::size_t limit, std::size_t reserved,
                             std::shared_ptr<const pool_report> report) noexcept
    : why_(why), limit_(limit), reserved_(reserved), report_(std::move(report)), text_{} {
  // Writes the exact numbers without allocating, because memory may have run out.
  char bound[48] = "no limit set";
  if (limit != SIZE_MAX) {
    std::snprintf(bound, sizeof bound, "limit %zu", limit);
  }
  const char* const next = report_ != nullptr    ? report_->suggestion.c_str()
                           : why.text != nullptr ? why.text
                                                 : "";
  std::snprintf(text_, sizeof text_, "tidepool: %s: %zu bytes requested, %zu reserved, %s%s%s",
                describe(why.code), why.requested, reserved, bound, *next == '\0' ? "" : "; ",
                next);
}
out_of_memory::~out_of_memory() = default;
const char* out_of_memory::what() const noexcept {
  return text_;
}

void throw_status(const status& why) {
  if (why.code == errc::out_of_memory || why.code == errc::over_budget) {
    throw out_of_memory(why, SIZE_MAX, 0);
  }
  throw error(why);
}

namespace detail {
void assertion_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "tidepool: assertion failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}
}  // namespace detail

}  // namespace v0
}  // namespace tidepool
