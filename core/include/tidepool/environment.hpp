// SPDX-License-Identifier: Apache-2.0
//
// Options in the environment variable TIDEPOOL: what one wants to change in a program that is built
// already. Comma-separated, `key` or `key=value`; sizes may end in KiB, MiB or GiB:
//
//   TIDEPOOL=fail_call=7,exhaust_at=64MiB,no_huge_pages ./program
//
// The keys are listed in core/README.md. What stands in the variable twice counts where it stands
// last. A key that nobody knows and a value that cannot be read are told once on stderr, with the
// list of keys, and otherwise ignored. A program that runs with more rights than its user
// (setuid) sees no options: secure_getenv(3).
//
// Thread safety: any thread, as long as none changes the environment meanwhile (getenv(3)).
// Cost: a scan of the variable; for constructors, not for paths that run often.
#pragma once

#include <tidepool/export.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tidepool {
inline namespace v0 {

/// The text after `key=`, "" for a key without a value; nothing where the key is not there.
/// The text is valid until the environment is changed.
[[nodiscard]] TIDEPOOL_EXPORT std::optional<std::string_view> environment_option(
    std::string_view key) noexcept;

/// Is the option on? `key` and `key=1` say yes, `key=0` and a missing key no.
[[nodiscard]] TIDEPOOL_EXPORT bool environment_flag(std::string_view key) noexcept;

/// A number of things. Nothing where the key is missing or its value is not a decimal number.
[[nodiscard]] TIDEPOOL_EXPORT std::optional<std::uint64_t> environment_count(
    std::string_view key) noexcept;

/// Bytes: a decimal number, alone or followed by KiB, MiB or GiB. Nothing where the key is missing
/// or its value is not of that form or too large.
[[nodiscard]] TIDEPOOL_EXPORT std::optional<std::size_t> environment_bytes(
    std::string_view key) noexcept;

}  // namespace v0
}  // namespace tidepool
