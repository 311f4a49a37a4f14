// SPDX-License-Identifier: Apache-2.0
//
// Makes the errors that reader and writer answer. Private to bench/trace: no interface has it.
// No state, so thread-safe.
#pragma once

#include "trace/error.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace tidepool::bench::trace {

inline error make_error(errc code, std::uint64_t offset, std::string reason) {
  error failure;
  failure.code = code;
  failure.offset = offset;
  failure.reason = std::move(reason);
  return failure;
}

inline error make_error(errc code, std::string reason) {
  error failure;
  failure.code = code;
  failure.reason = std::move(reason);
  return failure;
}

/// Short enough for the small-string buffer: making it cannot fail again.
inline error memory_error() noexcept {
  return {.code = errc::out_of_memory, .reason = "no memory"};
}

}  // namespace tidepool::bench::trace
