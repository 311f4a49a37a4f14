// SPDX-License-Identifier: Apache-2.0
//
// The host memory that most tests use.
#pragma once

#include "sizes.hpp"
#include <tidepool/cpu/backend.hpp>

#include <cstddef>
#include <memory>

namespace tidepool::test {

/// Little address space: ThreadSanitizer leaves little.
inline std::unique_ptr<backend> small_cpu(device where = device::cpu(),
                                          std::size_t arena_bytes = 512 * mib) {
  return cpu::make_backend(
      {.device = where, .huge_pages = cpu::huge_pages::never, .arena_bytes = arena_bytes});
}

}  // namespace tidepool::test
