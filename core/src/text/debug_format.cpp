// SPDX-License-Identifier: Apache-2.0
//
// Findings of debug modes as text for people.
#include "system/format.hpp"
#include "system/symbols.hpp"
#include <tidepool/debug.hpp>

#include <cinttypes>

namespace tidepool {
inline namespace v0 {

namespace {

using detail::append;
using detail::human_bytes;

void append_site(std::string& out, std::span<void* const> site, detail::symbol_finder& symbols) {
  for (void* const address : site) {
    // A return address is the one behind the call, and the call may be the function's last
    // instruction.
    const detail::symbol what = symbols.find(static_cast<const char*>(address) - 1);
    append(out, "    %s\n", detail::to_text(what, address).c_str());
  }
}

void append_place(std::string& out, const memory_damage& damage) {
  const auto bytes = static_cast<std::ptrdiff_t>(damage.bytes);
  append(out, "  %zu byte%s from ", damage.damaged_bytes, damage.damaged_bytes == 1 ? "" : "s");
  if (damage.offset < 0) {
    append(out, "%td before the first byte", -damage.offset);
  } else if (damage.offset >= bytes) {
    append(out, "%td behind the last byte", damage.offset - bytes);
  } else {
    append(out, "byte %td", damage.offset);
  }
  append(out, "; 0x%02x was found there\n", static_cast<unsigned>(damage.found));
}

}  // namespace

std::string to_text(std::span<void* const> call_site) {
  std::string out;
  detail::symbol_finder symbols;
  append_site(out, call_site, symbols);
  return out;
}

std::string to_text(const memory_damage& damage) {
  std::string out;
  append(out, "  tensor 0x%016" PRIx64 " '%.*s', category %u, %zu bytes at %p on %s\n",
         damage.id.value(), static_cast<int>(damage.name.size()), damage.name.data(),
         static_cast<unsigned>(damage.category), damage.bytes, damage.data,
         detail::device_name(damage.where).c_str());
  if (damage.damaged_bytes != 0) {
    append_place(out, damage);
  }
  detail::symbol_finder symbols;
  if (!damage.allocated_at.empty()) {
    out += "  made at\n";
    append_site(out, damage.allocated_at, symbols);
  }
  if (!damage.freed_at.empty()) {
    out += "  freed at\n";
    append_site(out, damage.freed_at, symbols);
  }
  return out;
}

std::string to_text(const leak_report& report) {
  std::string out;
  append(out, "tidepool: %zu tensor%s alive, %s\n", report.tensors,
         report.tensors == 1 ? " is" : "s are", human_bytes(report.bytes).c_str());
  detail::symbol_finder symbols;
  for (const leak_entry& entry : report.entries) {
    append(out, "  %s in %zu, category %s, name '%s'\n", human_bytes(entry.bytes).c_str(),
           entry.tensors, entry.category_name.c_str(), entry.name.c_str());
    append_site(out, entry.made_at, symbols);
  }
  return out;
}

}  // namespace v0
}  // namespace tidepool
