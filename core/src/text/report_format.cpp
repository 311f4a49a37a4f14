// SPDX-License-Identifier: Apache-2.0
//
// A pool_report as text for people and as JSON for programs.
#include "system/format.hpp"
#include <tidepool/report.hpp>

#include <array>
#include <cinttypes>

namespace tidepool {
inline namespace v0 {

namespace {

using detail::append;
using detail::append_json;
using detail::device_name;
using detail::human_bytes;

constexpr std::array<const char*, 7> event_names{
    "failed", "recalled", "trimmed", "reclaimed", "soft_limit_passed", "limits_set", "prewarmed"};

[[nodiscard]] const char* name_of(memory_event_kind kind) noexcept {
  return event_names[static_cast<unsigned>(kind)];
}

[[nodiscard]] std::string limit_text(const memory_limits& limits) {
  std::string out = "limit ";
  out += limits.hard == SIZE_MAX ? "none" : human_bytes(limits.hard);
  if (limits.soft < limits.hard) {
    out += ", soft " + human_bytes(limits.soft);
  }
  return out;
}

void device_text(std::string& out, const device_report& d) {
  const auto share = [&](std::size_t bytes) {
    return d.reserved_bytes == 0
               ? 0.0
               : 100.0 * static_cast<double>(bytes) / static_cast<double>(d.reserved_bytes);
  };
  const auto row = [&](const char* label, std::size_t bytes) {
    append(out, "  %-22s %12s  %5.1f %%\n", label, human_bytes(bytes).c_str(), share(bytes));
  };
  append(out, "%s (%s): reserved %s, peak %s, %s\n", device_name(d.where).c_str(), d.name.c_str(),
         human_bytes(d.reserved_bytes).c_str(), human_bytes(d.peak_reserved_bytes).c_str(),
         limit_text(d.limits).c_str());
  row("live", d.live_bytes);
  row("  asked for", d.requested_bytes);
  row("  inactive", d.inactive_bytes);
  row("free in threads", d.in_threads_bytes);
  row("free in ready lists", d.ready_bytes);
  row("free in the backend", d.free_bytes);
  if (d.pending_bytes != 0) {
    row("  pending in streams", d.pending_bytes);
  }
  if (d.arena_bytes != 0) {
    row("free in graph arenas", d.arena_bytes);
  }
  if (d.foreign_bytes != 0) {
    append(out, "  %-22s %12s  of %s on the device\n", "used by others",
           human_bytes(d.foreign_bytes).c_str(), human_bytes(d.total_bytes).c_str());
  }
  append(out, "  %-22s %12s  fragmentation %.2f\n", "  largest piece",
         human_bytes(d.largest_free_bytes).c_str(), d.fragmentation);
  const auto holders = [&](const char* title, const std::vector<memory_holder>& list) {
    if (!list.empty()) {
      append(out, "  %-22s %12s  %s\n", title, "bytes", "tensors");
    }
    for (const memory_holder& h : list) {
      append(out, "    %-20s %12s  %" PRIu64 "\n", h.name.empty() ? "(no name)" : h.name.c_str(),
             human_bytes(h.bytes).c_str(), h.tensors);
    }
  };
  holders("live by category", d.by_category);
  holders("live by name", d.by_name);
  for (const thread_holding& t : d.threads) {
    append(out, "  thread %-15" PRIu64 " %12s  free in its cache\n", t.thread,
           human_bytes(t.bytes).c_str());
  }
}

void limits_json(std::string& out, const memory_limits& limits) {
  append(out, "{\"hard\":%zu,\"soft\":%zu}", limits.hard, limits.soft);
}

void holders_json(std::string& out, const char* key, const std::vector<memory_holder>& list) {
  append(out, ",\"%s\":[", key);
  for (std::size_t i = 0; i < list.size(); ++i) {
    out += i == 0 ? "{\"name\":" : ",{\"name\":";
    append_json(out, list[i].name);
    append(out, ",\"tensors\":%" PRIu64 ",\"bytes\":%zu}", list[i].tensors, list[i].bytes);
  }
  out += "]";
}

void device_json(std::string& out, const device_report& d) {
  append(out, "{\"device\":\"%s\",\"name\":", device_name(d.where).c_str());
  append_json(out, d.name);
  append(out, ",\"total_bytes\":%zu,\"limits\":", d.total_bytes);
  limits_json(out, d.limits);
  append(
      out,
      ",\"reserved_bytes\":%zu,\"peak_reserved_bytes\":%zu,\"live_bytes\":%zu"
      ",\"requested_bytes\":%zu,\"inactive_bytes\":%zu,\"in_threads_bytes\":%zu"
      ",\"ready_bytes\":%zu,\"free_bytes\":%zu,\"largest_free_bytes\":%zu,\"fragmentation\":%.6f",
      d.reserved_bytes, d.peak_reserved_bytes, d.live_bytes, d.requested_bytes, d.inactive_bytes,
      d.in_threads_bytes, d.ready_bytes, d.free_bytes, d.largest_free_bytes, d.fragmentation);
  append(out, ",\"pending_bytes\":%zu,\"arena_bytes\":%zu,\"foreign_bytes\":%zu", d.pending_bytes,
         d.arena_bytes, d.foreign_bytes);
  holders_json(out, "by_category", d.by_category);
  holders_json(out, "by_name", d.by_name);
  out += ",\"threads\":[";
  for (std::size_t i = 0; i < d.threads.size(); ++i) {
    append(out, "%s{\"thread\":%" PRIu64 ",\"bytes\":%zu}", i == 0 ? "" : ",", d.threads[i].thread,
           d.threads[i].bytes);
  }
  out += "]}";
}

}  // namespace

std::string to_text(const pool_report& report) {
  std::string out;
  if (!report.failure.ok()) {
    append(out, "%s\n", to_string(report.failure).c_str());
  }
  if (!report.suggestion.empty()) {
    append(out, "next step: %s\n", report.suggestion.c_str());
  }
  append(out, "pool: reserved %s, peak %s, %s; %" PRIu64 " tensors alive of at most %" PRIu64 "\n",
         human_bytes(report.reserved_bytes).c_str(),
         human_bytes(report.peak_reserved_bytes).c_str(), limit_text(report.limits).c_str(),
         report.tensors, report.max_tensors);
  for (const device_report& d : report.devices) {
    device_text(out, d);
  }
  if (!report.events.empty()) {
    out += "last events\n";
  }
  for (const memory_event& e : report.events) {
    append(out, "  %6" PRIu64 "  %10.3f s  %-17s %12s", e.number, e.seconds, name_of(e.kind),
           human_bytes(e.bytes).c_str());
    if (e.kind != memory_event_kind::recalled) {
      append(out, "  %s", device_name(e.where).c_str());
    }
    if (e.code != errc::ok) {
      append(out, "  %s", describe(e.code));
    }
    out += "\n";
  }
  return out;
}

std::string to_json(const pool_report& report) {
  std::string out;
  append(out, "{\"format_version\":%d,\"failure\":", pool_report::format_version);
  if (report.failure.ok()) {
    out += "null";
  } else {
    append(out, "{\"code\":%d,\"what\":", static_cast<int>(report.failure.code));
    append_json(out, to_string(report.failure));
    append(out, ",\"requested\":%zu,\"device\":\"%s\"}", report.failure.requested,
           device_name(report.failure.where).c_str());
  }
  out += ",\"suggestion\":";
  append_json(out, report.suggestion);
  out += ",\"limits\":";
  limits_json(out, report.limits);
  append(out,
         ",\"reserved_bytes\":%zu,\"peak_reserved_bytes\":%zu,\"tensors\":%" PRIu64
         ",\"max_tensors\":%" PRIu64 ",\"devices\":[",
         report.reserved_bytes, report.peak_reserved_bytes, report.tensors, report.max_tensors);
  for (std::size_t i = 0; i < report.devices.size(); ++i) {
    out += i == 0 ? "" : ",";
    device_json(out, report.devices[i]);
  }
  out += "],\"events\":[";
  for (std::size_t i = 0; i < report.events.size(); ++i) {
    const memory_event& e = report.events[i];
    append(out,
           "%s{\"number\":%" PRIu64 ",\"seconds\":%.6f,\"kind\":\"%s\",\"code\":%d"
           ",\"device\":\"%s\",\"bytes\":%zu}",
           i == 0 ? "" : ",", e.number, e.seconds, name_of(e.kind), static_cast<int>(e.code),
           device_name(e.where).c_str(), e.bytes);
  }
  return out + "]}";
}

}  // namespace v0
}  // namespace tidepool
