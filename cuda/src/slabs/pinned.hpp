// SPDX-License-Identifier: Apache-2.0
//
// The source of page-locked host memory, with the system it works on: for tests that order faults.
// What it is and does stands in pinned.cpp.
#pragma once

#include "driver/host_system.hpp"
#include "slabs/slab_source.hpp"

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// As make_pinned_source(of, where); `system` outlives the source.
[[nodiscard]] made_source make_pinned_source(driver& gpu, device where,
                                             host_system& system) noexcept;

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
