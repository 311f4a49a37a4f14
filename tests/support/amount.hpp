// SPDX-License-Identifier: Apache-2.0
//
// How much work a test does: long runs ask for more by environment variables.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace tidepool::test {

inline std::uint64_t amount(const char* variable, std::uint64_t usual) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

/// By how much tests without seeds of their own grow in long runs (TIDEPOOL_TEST_SEEDS): 1 usually.
inline int effort() {
  return static_cast<int>(
      std::clamp<std::uint64_t>(amount("TIDEPOOL_TEST_SEEDS", 0) / 20, 1, 1000));
}

}  // namespace tidepool::test
