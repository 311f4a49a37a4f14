// SPDX-License-Identifier: Apache-2.0
//
// The library's version, at compile time and at run time. Semantic versioning; the ABI namespace
// v0 stays while the major version is 0.
#pragma once

#include <tidepool/export.hpp>

namespace tidepool {
inline namespace v0 {

inline constexpr int version_major = 0;
inline constexpr int version_minor = 1;
inline constexpr int version_patch = 0;

/// The version of the library that is running, "major.minor.patch". Static storage.
[[nodiscard]] TIDEPOOL_EXPORT const char* version() noexcept;

}  // namespace v0
}  // namespace tidepool
