// SPDX-License-Identifier: Apache-2.0
//
// Connects a pool with its access_store. Slow paths call these functions for tracked tensors; other
// tensors cost nothing. Thread safety: any number of threads may call all of them.
#pragma once

#include "record/record.hpp"
#include <tidepool/result.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace tidepool {
inline namespace v0 {

namespace detail {

class access_store;
class pool_core;

/// Throws std::bad_alloc.
[[nodiscard]] std::unique_ptr<access_store> make_access_store(const pool_core& core);

/// Gives a tensor that is about to be published its access entry, if it is to have one. Returns its
/// flags, which contain tracked only if the entry exists.
[[nodiscard]] tensor_flags begin_entry(pool_core& core, tensor_id id, lifecycle state,
                                       tensor_flags flags) noexcept;
/// Updates the entry after the tensor's category or lifecycle has changed.
void refresh_entry(pool_core& core, tensor_id id) noexcept;
/// Implements access_tracker::track.
errc track(pool_core& core, tensor_id id, std::uint32_t parts) noexcept;
/// Implements access_tracker::prefetch.
void prefetch(const pool_core& core, std::span<const tensor_id> ids, std::size_t bytes) noexcept;
/// Checks that entries and tensors fit together. Returns null, or the first broken invariant in
/// words.
[[nodiscard]] const char* verify_entries(pool_core& core) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
