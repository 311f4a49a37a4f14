// SPDX-License-Identifier: Apache-2.0
//
// Statistics as text for people and as JSON for programs.
#include "system/format.hpp"
#include <tidepool/statistics.hpp>

#include <cinttypes>
#include <cstdarg>
#include <cstdio>

namespace tidepool {
inline namespace v0 {

namespace {

constexpr std::array<const char*, size_category_count> category_names{
    "<= 4 KiB", "<= 64 KiB", "<= 1 MiB", "<= 16 MiB", "> 16 MiB"};
constexpr std::array<const char*, size_category_count> category_keys{"tiny", "small", "medium",
                                                                     "large", "huge"};
constexpr std::array<const char*, misuse_kind_count> misuse_keys{
    "stale_free",  "foreign_id", "stale_use", "racing_free",      "unbalanced",
    "after_close", "overflow",   "underflow", "write_after_free", "unretired_stream"};

using detail::append;
using detail::device_name;
using detail::human_bytes;

void row(std::string& out, const char* label, const operation_counts& c) {
  append(out, "  %-10s %13" PRIu64 " %13" PRIu64 " %10" PRIu64 " %8.4f %11" PRIu64 " %12s\n", label,
         c.allocations, c.frees, c.live, c.hit_rate(), c.refills,
         human_bytes(c.requested_bytes).c_str());
}

void counts_json(std::string& out, const operation_counts& c) {
  append(out,
         "{\"allocations\":%" PRIu64 ",\"frees\":%" PRIu64 ",\"front_hits\":%" PRIu64
         ",\"ready_hits\":%" PRIu64 ",\"refills\":%" PRIu64 ",\"requested_bytes\":%" PRIu64
         ",\"live\":%" PRIu64 ",\"hit_rate\":%.6f}",
         c.allocations, c.frees, c.front_hits, c.ready_hits, c.refills, c.requested_bytes, c.live,
         c.hit_rate());
}

}  // namespace

std::string to_text(const statistics& s) {
  std::string out;
  for (const device_statistics& d : s.devices) {
    append(out, "%s: reserved %s (peak %s, limit %s), live %s, cached %s\n",
           device_name(d.where).c_str(), human_bytes(d.reserved_bytes).c_str(),
           human_bytes(d.peak_reserved_bytes).c_str(),
           d.limit_bytes == SIZE_MAX ? "none" : human_bytes(d.limit_bytes).c_str(),
           human_bytes(d.live_bytes).c_str(), human_bytes(d.cached_bytes).c_str());
    append(out, "  %-10s %13s %13s %10s %8s %11s %12s\n", "size", "allocations", "frees", "live",
           "hit rate", "refills", "requested");
    for (unsigned c = 0; c < size_category_count; ++c) {
      row(out, category_names[c], d.by_size[c]);
    }
    row(out, "all", d.total);
    append(out, "  system calls %" PRIu64 ", address space %s, peak requested %s\n", d.system_calls,
           human_bytes(d.address_space_bytes).c_str(), human_bytes(d.peak_live_bytes).c_str());
  }
  append(out,
         "allocate %.1f ns (%" PRIu64 " samples), free %.1f ns (%" PRIu64
         " samples), threads %" PRIu64 ", live without a block %" PRIu64 "\nmisuses %" PRIu64
         ", failures %" PRIu64 ", recalls %" PRIu64 ", retired slots %" PRIu64 "%s\n",
         s.allocate.mean_ns, s.allocate.samples, s.free.mean_ns, s.free.samples, s.threads,
         s.live_without_block, s.misuses, s.failures, s.recalls, s.retired_slots,
         s.has_fences ? ", every operation fences (no membarrier, or too many pools)" : "");
  return out;
}

std::string to_json(const statistics& s) {
  std::string out;
  append(out, "{\"format_version\":%d,\"total\":", statistics::format_version);
  counts_json(out, s.total);
  out += ",\"devices\":[";
  for (std::size_t i = 0; i < s.devices.size(); ++i) {
    const device_statistics& d = s.devices[i];
    append(out, "%s{\"device\":\"%s\",\"total\":", i == 0 ? "" : ",", device_name(d.where).c_str());
    counts_json(out, d.total);
    out += ",\"by_size\":{";
    for (unsigned c = 0; c < size_category_count; ++c) {
      append(out, "%s\"%s\":", c == 0 ? "" : ",", category_keys[c]);
      counts_json(out, d.by_size[c]);
    }
    append(out, "},\"reserved_bytes\":%zu,\"peak_reserved_bytes\":%zu,\"live_bytes\":%zu",
           d.reserved_bytes, d.peak_reserved_bytes, d.live_bytes);
    append(out,
           ",\"cached_bytes\":%zu,\"peak_live_bytes\":%zu,\"limit_bytes\":%zu"
           ",\"soft_limit_bytes\":%zu",
           d.cached_bytes, d.peak_live_bytes, d.limit_bytes, d.soft_limit_bytes);
    append(out, ",\"address_space_bytes\":%zu,\"system_calls\":%" PRIu64 "}", d.address_space_bytes,
           d.system_calls);
  }
  append(out,
         "],\"reserved_bytes\":%zu,\"peak_reserved_bytes\":%zu,\"limit_bytes\":%zu"
         ",\"soft_limit_bytes\":%zu",
         s.reserved_bytes, s.peak_reserved_bytes, s.limit_bytes, s.soft_limit_bytes);
  append(out,
         ",\"allocate\":{\"samples\":%" PRIu64 ",\"mean_ns\":%.3f},\"free\":{\"samples\":%" PRIu64
         ",\"mean_ns\":%.3f}",
         s.allocate.samples, s.allocate.mean_ns, s.free.samples, s.free.mean_ns);
  append(out, ",\"misuses\":%" PRIu64 ",\"misuses_by_kind\":{", s.misuses);
  for (unsigned i = 0; i < misuse_kind_count; ++i) {
    append(out, "%s\"%s\":%" PRIu64, i == 0 ? "" : ",", misuse_keys[i], s.misuses_by_kind[i]);
  }
  append(out,
         "},\"failures\":%" PRIu64 ",\"recalls\":%" PRIu64 ",\"threads\":%" PRIu64
         ",\"retired_slots\":%" PRIu64 ",\"has_fences\":%s,\"live_without_block\":%" PRIu64 "}",
         s.failures, s.recalls, s.threads, s.retired_slots, s.has_fences ? "true" : "false",
         s.live_without_block);
  return out;
}

}  // namespace v0
}  // namespace tidepool
