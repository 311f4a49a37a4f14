// SPDX-License-Identifier: Apache-2.0
//
// Where a pool meets its access_store. Slow paths call these for tracked tensors; others cost
// nothing. Thread safety: all may be called by any number of threads.
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

/// For a tensor that is about to be published: its flags, tracked only if it has an entry.
[[nodiscard]] tensor_flags begin_entry(pool_core& core, tensor_id id, lifecycle state,
                                       tensor_flags flags) noexcept;
/// After a change of category or lifecycle.
void refresh_entry(pool_core& core, tensor_id id) noexcept;
/// pool::track.
errc track(pool_core& core, tensor_id id, std::uint32_t parts) noexcept;
/// pool::prefetch.
void prefetch(const pool_core& core, std::span<const tensor_id> ids, std::size_t bytes) noexcept;
/// Entries and tensors fit together: null, or the first broken invariant in words.
[[nodiscard]] const char* verify_entries(pool_core& core) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
