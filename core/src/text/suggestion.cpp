// SPDX-License-Identifier: Apache-2.0
//
// Suggests a remedy for a failed allocation: names the first cause that the figures prove, and
// these figures.
#include "text/suggestion.hpp"

#include "system/format.hpp"

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

[[nodiscard]] std::string holders(const device_report& d) {
  std::string out;
  if (!d.by_category.empty()) {
    const memory_holder& most = d.by_category.front();
    append(out, "; category %s holds most, %s in %llu tensors", most.name.c_str(),
           human_bytes(most.bytes).c_str(), static_cast<unsigned long long>(most.tensors));
  }
  if (!d.by_name.empty() && !d.by_name.front().name.empty()) {
    append(out, ", name %s %s", d.by_name.front().name.c_str(),
           human_bytes(d.by_name.front().bytes).c_str());
  }
  return out;
}

// A hard limit: the option that sets it, its value, and the bytes used under it.
struct bound {
  const char* option;
  std::size_t limit;
  std::size_t used;
};

[[nodiscard]] bound tightest(const pool_report& report, const device_report& d) {
  const std::size_t device_room = d.limits.hard - std::min(d.limits.hard, d.reserved_bytes);
  const std::size_t pool_room =
      report.limits.hard - std::min(report.limits.hard, report.reserved_bytes);
  return pool_room < device_room
             ? bound{"total_limit_bytes", report.limits.hard, report.reserved_bytes}
             : bound{"limit_bytes", d.limits.hard, d.reserved_bytes};
}

[[nodiscard]] std::string over_limit(const pool_report& report, const device_report& d) {
  std::string out;
  const std::size_t requested = report.failure.requested;
  const bound by = tightest(report, d);
  if (requested > by.limit) {
    append(out, "the request alone, %s, is larger than %s, %s: raise it",
           human_bytes(requested).c_str(), by.option, human_bytes(by.limit).c_str());
    return out;
  }
  if (d.free_bytes >= requested && d.largest_free_bytes < requested) {
    append(out,
           "%s are free, but the largest piece is %s: memory is fragmented. Allocate what lives "
           "long first or give it lifecycle::persistent, or raise %s by %s",
           human_bytes(d.free_bytes).c_str(), human_bytes(d.largest_free_bytes).c_str(), by.option,
           human_bytes(requested).c_str());
    return out;
  }
  const std::size_t needed = by.used - std::min(by.used, d.free_bytes) + requested;
  append(out, "raise %s, %s, to at least %s, or free %s", by.option, human_bytes(by.limit).c_str(),
         human_bytes(std::max(needed, by.limit + 1)).c_str(),
         human_bytes(needed - std::min(needed, by.limit)).c_str());
  if (d.inactive_bytes != 0) {
    append(out, "; %s are in inactive tensors: evict them, or set pool_options::reclaim",
           human_bytes(d.inactive_bytes).c_str());
  }
  return out + holders(d);
}

[[nodiscard]] std::string exhausted(const pool_report& report, const device_report& d) {
  std::string out;
  append(out, "the %s refused %s with %s reserved",
         d.where.kind() == device_kind::cpu ? "system" : "device",
         human_bytes(report.failure.requested).c_str(), human_bytes(d.reserved_bytes).c_str());
  if (d.total_bytes != 0) {
    append(out, " of %s there", human_bytes(d.total_bytes).c_str());
  }
  if (d.where.kind() == device_kind::cpu) {
    out += ": look at ulimit -v, the cgroup's memory.max and other processes";
  } else if (d.foreign_bytes != 0) {
    append(out, ": other libraries or processes hold %s", human_bytes(d.foreign_bytes).c_str());
  } else {
    out += ": other libraries or processes hold the rest";
  }
  out += ", and set limit_bytes below what is there to fail early";
  if (d.inactive_bytes != 0) {
    append(out, "; %s are in inactive tensors: evict them", human_bytes(d.inactive_bytes).c_str());
  }
  return out + holders(d);
}

}  // namespace

std::string suggestion_for(const pool_report& report) {
  const status& failure = report.failure;
  const auto found = std::find_if(report.devices.begin(), report.devices.end(),
                                  [&](const auto& d) { return d.where == failure.where; });
  switch (failure.code) {
  case errc::over_budget:
    return found == report.devices.end() ? "" : over_limit(report, *found);
  case errc::out_of_memory:
    return found == report.devices.end() ? "" : exhausted(report, *found);
  case errc::too_many: {
    // Tables of streams and arenas may be full as well, and then the failure says what helps.
    if (report.tensors < report.max_tensors && failure.text != nullptr) {
      return failure.text;
    }
    std::string out;
    append(out, "%llu tensors are alive and %llu is the most: raise pool_options::max_tensors",
           static_cast<unsigned long long>(report.tensors),
           static_cast<unsigned long long>(report.max_tensors));
    return out;
  }
  case errc::unknown_device: {
    std::string out = "allocate on a device of the pool:";
    for (const device_report& d : report.devices) {
      append(out, " %s", device_name(d.where).c_str());
    }
    return out;
  }
  case errc::ok:
    return "";
  default:
    return failure.text == nullptr ? describe(failure.code) : failure.text;
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
