// SPDX-License-Identifier: Apache-2.0
//
// The parts of the word that says what keeps a pool alive (pool_core::uses_, operations.cpp).
#pragma once

#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

// uses_: what keeps this alive. After closing, tensors that are alive or whose handles are; is
// closing wanted; slow operations, and of these those not in a callback; the pool's handle.
inline constexpr std::uint64_t tensors_mask = (std::uint64_t{1} << 27) - 1;
inline constexpr std::uint64_t closing_bit = std::uint64_t{1} << 27;
inline constexpr std::uint64_t one_operation = std::uint64_t{1} << 28;
inline constexpr std::uint64_t one_active = std::uint64_t{1} << 46;
inline constexpr std::uint64_t operations_mask = one_active - one_operation;
inline constexpr std::uint64_t handle_bit = std::uint64_t{1} << 63;
inline constexpr std::uint64_t active_mask = handle_bit - one_active;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
