// SPDX-License-Identifier: Apache-2.0
//
// The pool that the program's commands work with.
#include "tidepool/replay/make_pool.hpp"

#include "tidepool/quantity.hpp"
#include <tidepool/cpu/backend.hpp>
#include <tidepool/cuda/backend.hpp>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace tidepool::bench {
namespace {

result<std::unique_ptr<backend>> make_backend(device where) {
  switch (where.kind()) {
  case device_kind::cpu:
    return cpu::try_make_backend({.device = where});
  case device_kind::cuda:
  case device_kind::pinned:
    if (where.node() != device::any_node) {
      // Of no GPU, so it is served only where it is named.
      return cuda::try_make_backend({.devices = {where}});
    }
    return cuda::try_make_backend({.ordinal = where.ordinal()});
  case device_kind::managed:
    return cuda::try_make_backend({.ordinal = where.ordinal()});
  default:
    return errc::unknown_device;
  }
}

}  // namespace

result<pool> make_pool(const pool_request& request) noexcept {
  try {
    result<std::unique_ptr<backend>> made = make_backend(request.where);
    if (!made) {
      return made.error();
    }
    std::vector<std::unique_ptr<backend>> backends;
    backends.push_back(std::move(*made));
    pool_options options{.limit_bytes = request.limit_bytes};
    // Ready slots count too: leave as many again.
    options.max_tensors = std::max(options.max_tensors, 2 * request.tensors);
    return pool::try_create(std::move(backends), options);
  } catch (const std::bad_alloc&) {
    return errc::out_of_memory;
  }
}

std::string failure_text(const status& why, device where) {
  return "no pool for device " + device_text(where) + ": " + to_string(why);
}

}  // namespace tidepool::bench
