// SPDX-License-Identifier: Apache-2.0
//
// TIDEPOOL_ASSERT(level, condition): contracts and invariants, checked when TIDEPOOL_ASSERT_LEVEL
// is at least `level`. 1: cheap contracts, 2: invariants of what was touched, 3: whole structures.
// For the library's own sources and those of backends (<tidepool/support>); no other public header
// includes it.
#pragma once

#include <tidepool/export.hpp>

#ifndef TIDEPOOL_ASSERT_LEVEL
#define TIDEPOOL_ASSERT_LEVEL 0
#endif

namespace tidepool {
inline namespace v0 {
namespace detail {
/// Prints one line and aborts.
[[noreturn]] TIDEPOOL_EXPORT void assertion_failed(const char* condition, const char* file,
                                                   int line) noexcept;
}  // namespace detail
}  // namespace v0
}  // namespace tidepool

#define TIDEPOOL_ASSERT(level, condition)                                                          \
  ((TIDEPOOL_ASSERT_LEVEL >= (level) && !(condition))                                              \
       ? ::tidepool::detail::assertion_failed(#condition, __FILE__, __LINE__)                      \
       : static_cast<void>(0))
