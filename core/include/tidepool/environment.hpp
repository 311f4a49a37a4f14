// SPDX-License-Identifier: Apache-2.0
//
// Options in the environment variable TIDEPOOL, to change a program without building it again. They
// are separated by commas, as `key` or `key=value`; sizes may end in KiB, MiB or GiB:
//
//   TIDEPOOL=fail_call=7,exhaust_at=64MiB,no_huge_pages ./program
//
// core/README.md lists the keys. If a key occurs twice, the last one counts. An unknown key and a
// value that cannot be read are reported once on stderr, with the list of keys, and are otherwise
// ignored. A program that runs with more rights than its user (setuid) sees no options:
// secure_getenv(3).
//
// Thread safety: any thread, as long as no thread changes the environment meanwhile (getenv(3)).
// Cost: a scan of the variable, so call these in constructors and not on paths that run often.
#pragma once

#include <tidepool/export.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tidepool {
inline namespace v0 {

/// Returns the text after `key=`, "" for a key without a value, or nothing if the key is not there.
/// The text is valid until the environment is changed.
[[nodiscard]] TIDEPOOL_EXPORT std::optional<std::string_view> environment_option(
    std::string_view key) noexcept;

/// Is the option on? It is with `key` and `key=1`, but not with `key=0` or without the key.
[[nodiscard]] TIDEPOOL_EXPORT bool environment_flag(std::string_view key) noexcept;

/// Returns a count, or nothing if the key is missing or its value is not a decimal number.
[[nodiscard]] TIDEPOOL_EXPORT std::optional<std::uint64_t> environment_count(
    std::string_view key) noexcept;

/// Returns a number of bytes: a decimal number, alone or followed by KiB, MiB or GiB. Returns
/// nothing if the key is missing or its value is not of that form or too large.
[[nodiscard]] TIDEPOOL_EXPORT std::optional<std::size_t> environment_bytes(
    std::string_view key) noexcept;

}  // namespace v0
}  // namespace tidepool
