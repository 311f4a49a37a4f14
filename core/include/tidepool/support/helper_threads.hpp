// SPDX-License-Identifier: Apache-2.0
//
// with_helpers: one piece of work done by the caller and some threads more, which end before the
// call does. For work that deals out its own pieces, such as backing pages. For writers of
// backends.
// Not a stable interface: any version of tidepool may change it.
#pragma once

#include <tidepool/export.hpp>

#include <cstddef>

namespace tidepool {
inline namespace v0 {
namespace support {

/// Runs work(context) in `threads` threads, the caller's included (at least 1, at most 64). Where
/// there is no thread to be had, in fewer: the others do its share. Pre: work is safe to run in
/// several threads at once. Cost: a thread is started and joined for each but the caller.
TIDEPOOL_EXPORT void with_helpers(std::size_t threads, void (*work)(void* context) noexcept,
                                  void* context) noexcept;

/// The same for work(), which throws nothing.
template <class F>
void with_helpers(std::size_t threads, F& work) noexcept {
  with_helpers(
      threads, [](void* context) noexcept { (*static_cast<F*>(context))(); }, &work);
}

}  // namespace support
}  // namespace v0
}  // namespace tidepool
