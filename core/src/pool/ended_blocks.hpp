// SPDX-License-Identifier: Apache-2.0
//
// Blocks whose tensors have ended, but which other streams may still use: given to the backend with
// these streams, or held in their arena until they can be ordered. Thread safety: that of
// pool_core.
#pragma once

#include "pool/pool_core.hpp"

#include <cstdint>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Notes that work on the stream uses the tensor. If there is no memory to note it, this waits for
/// the stream; if the stream captures, the use counts as one of a stream that cannot be told.
void note_use_or_wait(pool_core& core, tensor_id id, const stream_ref& stream) noexcept;

/// Numbers of lanes that use a block; stream_uses::untold stands for a stream without one.
using lane_numbers = std::span<const std::uint16_t>;

/// Gives a block that several streams have used to the backend, which hands it out again once all
/// of them have passed the end of its tensor. Post: the tensor's end is counted.
void give_after(pool_core& core, record& slot, const ended_block& how,
                lane_numbers others) noexcept;

/// Checks the bytes of a tensor that has ended and takes its guards away. Pre: a debug mode is on.
void check_ended(pool_core& core, record& slot) noexcept;

// Blocks of an arena. A capture must not wait for work outside of it, and nobody outside may wait
// for work that is captured. So a block that a stream outside of the capture has used, or one of
// another capture, cannot be used again in this capture. It is held until the arena's next capture
// begins, or until the arena ends.
/// Post: the tensor's end is counted.
void hold(pool_core& core, record& slot, const ended_block& how, lane_numbers others) noexcept;
/// Makes those ready again that can be ordered before the stream, which is about to capture.
void settle_held(pool_core& core, lane& arena, const lane& stream) noexcept;
/// Gives all of them to the backend. Pre: the arena ends, in the order of `last`.
void give_held_back(pool_core& core, lane& arena, lane& last) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
