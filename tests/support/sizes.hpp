// SPDX-License-Identifier: Apache-2.0
//
// Sizes in tests.
#pragma once

#include <cstddef>

namespace tidepool::test {

inline constexpr std::size_t kib = 1024;
inline constexpr std::size_t mib = 1024 * kib;

}  // namespace tidepool::test
