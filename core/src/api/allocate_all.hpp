// SPDX-License-Identifier: Apache-2.0
//
// allocate_all: allocates several equal tensors, all or none, for pool::allocate_n and
// tidepool_allocate_n. It is a template because each of the two interfaces has its own struct of an
// address and an id.
//
// Thread safety: may be called by any number of threads at once, with answers of their own.
#pragma once

#include <tidepool/detail/allocate.hpp>

#include <bit>
#include <cstddef>
#include <span>
#include <type_traits>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// The properties that all of the tensors have.
struct same_tensors {
  pool_core* core;
  std::size_t bytes;
  device where;
  const allocation_options& options;
};

/// Made is raw_tensor or tidepool_tensor. Post on failure: nothing was allocated, the answers up to
/// the one that failed are empty, and the others were not touched.
template <class Made>
[[nodiscard]] status allocate_all(const same_tensors& what, std::span<Made> made) noexcept {
  static_assert(std::is_standard_layout_v<Made> && sizeof(Made) == sizeof(raw_tensor) &&
                offsetof(Made, id) == offsetof(raw_tensor, id));
  if (made.size() > 1 && what.options.key != 0) {
    return {.code = errc::invalid_argument, .text = "one key, one tensor"};
  }
  for (std::size_t i = 0; i < made.size(); ++i) {
    const raw_tensor one = allocate(what.core, what.bytes, what.where, what.options);
    if (!one.id) {
      const status why = failure_status(what.core, one, what.bytes, what.where);
      made[i] = {};
      while (i-- > 0) {
        (void)deallocate_id(what.core, std::bit_cast<raw_tensor>(made[i]).id);
        made[i] = {};
      }
      return why;
    }
    made[i] = std::bit_cast<Made>(one);
  }
  return {};
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
