// SPDX-License-Identifier: Apache-2.0
//
// For writers of backends: whether the calling thread is coming to its end. A pool gives the blocks
// that the thread kept back then, from a destructor. A backend whose driver keeps state for each
// thread must not call it there, because that state may be gone. Thread-safe.
#pragma once

#include <tidepool/export.hpp>

namespace tidepool {
inline namespace v0 {
namespace support {

/// False in threads that have used no pool.
[[nodiscard]] TIDEPOOL_EXPORT bool this_thread_ends() noexcept;

}  // namespace support
}  // namespace v0
}  // namespace tidepool
