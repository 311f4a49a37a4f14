// SPDX-License-Identifier: Apache-2.0
//
// Helpers that write text for people and JSON.
#include "system/format.hpp"

#include <array>
#include <cstdarg>
#include <cstdio>

namespace tidepool {
inline namespace v0 {
namespace detail {

void append(std::string& out, const char* format, ...) {
  std::array<char, 512> buffer;
  std::va_list arguments;
  va_start(arguments, format);
  std::va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(buffer.data(), buffer.size(), format, arguments);
  va_end(arguments);
  if (length >= 0 && static_cast<std::size_t>(length) < buffer.size()) {
    out.append(buffer.data(), static_cast<std::size_t>(length));
  } else if (length >= 0) {
    const std::size_t old = out.size();
    out.resize(old + static_cast<std::size_t>(length) + 1);
    std::vsnprintf(&out[old], static_cast<std::size_t>(length) + 1, format, again);
    out.pop_back();
  }
  va_end(again);
}

void append_json(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      append(out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 7> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  std::string out;
  if (unit == 0) {
    append(out, "%llu B", static_cast<unsigned long long>(bytes));
  } else {
    append(out, "%.2f %s", value, units[unit]);
  }
  return out;
}

std::string device_name(device where) {
  static constexpr std::array<const char*, 8> names{"cpu", "cuda",  "pinned", "managed",
                                                    "hip", "metal", "remote", "user"};
  if (where.is_automatic()) {
    return "automatic";
  }
  const auto kind = static_cast<std::size_t>(where.kind());
  const bool has_node = where.node() != device::any_node;
  // The name of host memory has no ordinal: neither that of pageable memory nor that of pinned
  // memory of a NUMA node.
  const bool is_unnumbered =
      where.ordinal() == 0 &&
      (where.kind() == device_kind::cpu || (where.kind() == device_kind::pinned && has_node));
  std::string out;
  if (kind < names.size()) {
    out = names[kind];
  } else {
    append(out, "kind%zu", kind);
  }
  if (!is_unnumbered) {
    append(out, ":%u", unsigned{where.ordinal()});
  }
  if (has_node) {
    append(out, ":node%u", unsigned{where.node()});
  }
  static constexpr std::array<const char*, 3> memory_names{"", "/plain", "/growable"};
  if (const auto how = static_cast<std::size_t>(where.memory()); how < memory_names.size()) {
    out += memory_names[how];
  } else {
    append(out, "/memory%zu", how);
  }
  return out;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
