// SPDX-License-Identifier: Apache-2.0
//
// Which access kernels (tidepool/access_record.hpp) this processor can run.
#pragma once

#include <tidepool/access_record.hpp>

#include <span>

namespace tidepool {
inline namespace v0 {
namespace cpu {

/// All that run here, the fastest first; none where core's scalar ones are all there is.
[[nodiscard]] std::span<const access_kernels* const> usable_access_kernels() noexcept;

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
