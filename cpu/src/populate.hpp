// SPDX-License-Identifier: Apache-2.0
//
// populate: makes the pages of blocks present before somebody waits for them. The content of the
// blocks stays. Needs no lock: the blocks belong to the caller.
#pragma once

#include "os_memory.hpp"
#include <tidepool/backend.hpp>

#include <cstddef>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace cpu {

/// Shares the blocks among up to `threads` threads, the caller's included (0 is 1); with fewer
/// where the system refuses some. Returns the bytes of the blocks populated.
[[nodiscard]] std::size_t populate_blocks(os_memory& os, std::span<const block> blocks,
                                          unsigned threads) noexcept;

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
