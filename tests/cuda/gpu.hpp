// SPDX-License-Identifier: Apache-2.0
//
// What a test does where there is no GPU: it skips, or fails if the run has to have one. ctest
// looks for the text of the skip. Thread-safe.
#pragma once

#include <cstdlib>
#include <string_view>

namespace tidepool::test {

/// TIDEPOOL_REQUIRE_GPU=1: a run that finds no GPU has failed, so that it cannot be green by
/// skipping.
[[nodiscard]] inline bool gpu_is_required() {
  const char* const value = std::getenv("TIDEPOOL_REQUIRE_GPU");
  return value != nullptr && std::string_view(value) != "" && std::string_view(value) != "0";
}

}  // namespace tidepool::test
