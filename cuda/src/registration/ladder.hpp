// SPDX-License-Identifier: Apache-2.0
//
// The ladder behind register_host, with the driver and the system it works on: for tests that order
// faults. What it is and does stands in host_registration.hpp.
#pragma once

#include "driver/host.hpp"
#include "driver/host_system.hpp"
#include <tidepool/cuda/host_registration.hpp>

#include <memory>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// What a registration works with, until it ends.
struct registration_tools {
  std::unique_ptr<driver> gpu;
  std::unique_ptr<host_system> system;
};

/// Pre: both tools are there.
[[nodiscard]] result<host_registration> climb_ladder(registration_tools tools,
                                                     std::span<const std::byte> memory,
                                                     host_access access,
                                                     bool may_copy_pages) noexcept;

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
