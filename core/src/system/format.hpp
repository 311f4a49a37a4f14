// SPDX-License-Identifier: Apache-2.0
//
// Small text helpers: printf into a string (std::format is not in g++ 12), byte counts and devices
// for people.
#pragma once

#include <tidepool/device.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace tidepool {
inline namespace v0 {
namespace detail {

[[gnu::format(printf, 2, 3)]] void append(std::string& out, const char* format, ...);
/// Appends a JSON string, quoted and escaped.
void append_json(std::string& out, std::string_view text);
/// "12.5 MiB"; exact below 1 KiB.
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);
/// "cpu", "cpu:node1", "cuda:0", ...
[[nodiscard]] std::string device_name(device where);

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
