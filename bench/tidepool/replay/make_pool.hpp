// SPDX-License-Identifier: Apache-2.0
//
// The pool that the program's commands work with: one backend for the device that is asked for.
#pragma once

#include <tidepool/pool.hpp>

#include <cstddef>
#include <string>

namespace tidepool::bench {

struct pool_request {
  device where = device::cpu();
  std::size_t limit_bytes = SIZE_MAX;
  std::size_t tensors = 0;  ///< alive at once, at least; the pool's default if that is more
};

/// Errors as of the backend's factory and of pool::try_create.
[[nodiscard]] result<pool> make_pool(const pool_request& request) noexcept;

/// One sentence for people about a failed make_pool.
[[nodiscard]] std::string failure_text(const status& why, device where);

}  // namespace tidepool::bench
