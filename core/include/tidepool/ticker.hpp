// SPDX-License-Identifier: Apache-2.0
//
// ticker: calls pool_control::tick from a thread of its own, for applications that have no timer.
// No pool starts a thread by itself.
#pragma once

#include <tidepool/export.hpp>

#include <chrono>
#include <memory>

namespace tidepool {
inline namespace v0 {

class pool;

/// Ticks while it lives. Pre: the pool neither ends nor is moved meanwhile, and one thread at a
/// time uses the ticker. The child of a fork does not have the thread, so make another ticker
/// there.
class TIDEPOOL_EXPORT ticker {
 public:
  /// Starts the thread; the first tick comes after one interval. Pre: every > 0. Throws
  /// std::invalid_argument, std::bad_alloc, or std::system_error if there is no thread.
  explicit ticker(pool& which, std::chrono::milliseconds every = std::chrono::seconds(1));
  /// Waits for the end of a tick under way.
  ~ticker();
  ticker(ticker&&) noexcept;
  ticker& operator=(ticker&&) noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace v0
}  // namespace tidepool
