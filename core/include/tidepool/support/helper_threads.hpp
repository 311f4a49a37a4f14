// SPDX-License-Identifier: Apache-2.0
//
// with_helpers: the caller and some helper threads do one piece of work; the helpers end before the
// call returns. It suits work that deals out its own pieces, such as backing pages.
//
// For writers of backends; not stable API: it may change with every version.
#pragma once

#include <tidepool/export.hpp>

#include <cstddef>

namespace tidepool {
inline namespace v0 {
namespace support {

/// Runs work(context) in `threads` threads, the caller's included (at least 1, at most 64). If the
/// system gives fewer threads, these do all of the work. Pre: several threads may run work at once.
/// Cost: starts and joins one thread for each but the caller.
TIDEPOOL_EXPORT void with_helpers(std::size_t threads, void (*work)(void* context) noexcept,
                                  void* context) noexcept;

/// The same for a callable object. Pre: it throws nothing.
template <class F>
void with_helpers(std::size_t threads, F& work) noexcept {
  with_helpers(
      threads, [](void* context) noexcept { (*static_cast<F*>(context))(); }, &work);
}

}  // namespace support
}  // namespace v0
}  // namespace tidepool
