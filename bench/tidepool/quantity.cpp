// SPDX-License-Identifier: Apache-2.0
//
// Quantities as people write and read them.
#include "tidepool/quantity.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace tidepool::bench {
namespace {

constexpr char lower(char letter) noexcept {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

std::optional<std::uint64_t> unit_bytes(std::string_view unit) noexcept {
  if (unit.empty() || (unit.size() == 1 && lower(unit[0]) == 'b')) {
    return 1;
  }
  constexpr std::string_view prefixes = "kmgt";
  const std::size_t power = prefixes.find(lower(unit[0])) + 1;
  if (power == 0) {
    return std::nullopt;
  }
  const std::string_view rest = unit.substr(1);
  const bool is_decimal = rest.size() == 1 && lower(rest[0]) == 'b';
  const bool is_binary =
      rest.empty() || (rest.size() == 2 && lower(rest[0]) == 'i' && lower(rest[1]) == 'b');
  if (!is_decimal && !is_binary) {
    return std::nullopt;
  }
  std::uint64_t bytes = 1;
  for (std::size_t i = 0; i < power; ++i) {
    bytes *= is_decimal ? 1000 : 1024;
  }
  return bytes;
}

std::optional<std::uint16_t> parse_number(std::string_view text, unsigned largest) noexcept {
  unsigned value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value > largest) {
    return std::nullopt;
  }
  return static_cast<std::uint16_t>(value);
}

}  // namespace

std::optional<std::uint64_t> parse_bytes(std::string_view text) noexcept {
  double number = 0;
  const auto [end, failure] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (failure != std::errc{} || !std::isfinite(number) || number < 0) {
    return std::nullopt;
  }
  std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (!unit.empty() && unit.front() == ' ') {
    unit.remove_prefix(1);
  }
  const std::optional<std::uint64_t> scale = unit_bytes(unit);
  if (!scale) {
    return std::nullopt;
  }
  const double bytes = number * static_cast<double>(*scale);
  if (bytes >= 9.2e18) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(bytes);
}

std::optional<device> parse_device(std::string_view text) noexcept {
  if (text == "cpu") {
    return device::cpu();
  }
  if (text == "cuda") {
    return device::cuda(0);
  }
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view kind = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 1);
  // As the pool writes nodes in statistics and messages.
  const bool says_node = rest.substr(0, 4) == "node";
  if (says_node) {
    rest.remove_prefix(4);
  }
  const bool is_node = says_node || kind == "cpu";
  const std::optional<std::uint16_t> number = parse_number(rest, is_node ? 254 : 65535);
  if (!number) {
    return std::nullopt;
  }
  if (is_node) {
    const auto node = static_cast<std::uint8_t>(*number);
    return kind == "cpu"      ? std::optional(device::cpu(node))
           : kind == "pinned" ? std::optional(device::pinned(node))
                              : std::nullopt;
  }
  if (kind == "cuda") {
    return device::cuda(*number);
  }
  if (kind == "pinned") {
    return device::pinned(device::cuda(*number));
  }
  if (kind == "managed") {
    return device::managed(device::cuda(*number));
  }
  return std::nullopt;
}

std::string device_text(device where) {
  switch (where.kind()) {
  case device_kind::cpu:
    return where.node() == device::any_node ? "cpu" : "cpu:" + std::to_string(where.node());
  case device_kind::cuda:
    return "cuda:" + std::to_string(where.ordinal());
  case device_kind::pinned:
    return where.node() == device::any_node ? "pinned:" + std::to_string(where.ordinal())
                                            : "pinned:node" + std::to_string(where.node());
  case device_kind::managed:
    return "managed:" + std::to_string(where.ordinal());
  case device_kind::user:
    return "user:" + std::to_string(where.ordinal());
  case device_kind::automatic:
    return "automatic";
  default:
    return "kind " + std::to_string(static_cast<int>(where.kind())) + ":" +
           std::to_string(where.ordinal());
  }
}

std::string bytes_text(std::uint64_t bytes) {
  if (bytes < 1024) {
    return std::to_string(bytes) + " B";
  }
  constexpr std::array<const char*, 6> units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  const bool is_whole = value == std::floor(value);
  return figure_text(value, is_whole ? 1 : 4) + " " + units[unit];
}

std::string count_text(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t place = digits.size(); place > 3; place -= 3) {
    digits.insert(place - 3, 1, ' ');
  }
  return digits;
}

std::string figure_text(double value, int digits) {
  const double size = std::fabs(value);
  const int whole = size < 10 ? 1 : static_cast<int>(std::floor(std::log10(size))) + 1;
  int decimals = digits > whole ? digits - whole : 0;
  if (size > 0 && size < 1) {
    // Leading zeros are not significant.
    decimals = digits - 1 - static_cast<int>(std::floor(std::log10(size)));
    decimals = decimals > 6 ? 6 : decimals;
  }
  std::array<char, 64> text{};
  const int length = std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace tidepool::bench
