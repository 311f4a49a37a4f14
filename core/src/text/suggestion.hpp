// SPDX-License-Identifier: Apache-2.0
//
// suggestion_for: suggests what to do after memory ran out, computed from the report's figures.
#pragma once

#include <tidepool/report.hpp>

#include <string>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Returns "" if nothing failed. Throws std::bad_alloc.
[[nodiscard]] std::string suggestion_for(const pool_report& report);

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
