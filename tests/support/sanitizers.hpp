// SPDX-License-Identifier: Apache-2.0
//
// Which sanitizer watches this program: for tests of what a sanitizer's own runtime cannot bear.
#pragma once

namespace tidepool::test {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool address_sanitized = true;
#else
inline constexpr bool address_sanitized = false;
#endif
#if defined(__SANITIZE_THREAD__)
inline constexpr bool thread_sanitized = true;
#else
inline constexpr bool thread_sanitized = false;
#endif
inline constexpr bool sanitized = address_sanitized || thread_sanitized;

}  // namespace tidepool::test
