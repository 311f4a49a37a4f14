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

/// Ticks while it lives. The pool may neither end nor be moved meanwhile. After a fork the child
/// has no such thread: make another one there. Not safe to use by two threads at once.
class TIDEPOOL_EXPORT ticker {
 public:
  /// The first tick comes after one interval. Pre: every > 0. Throws std::invalid_argument,
  /// std::bad_alloc, std::system_error when no thread can be had.
  explicit ticker(pool& which, std::chrono::milliseconds every = std::chrono::seconds(1));
  /// Waits for a tick under way.
  ~ticker();
  ticker(ticker&&) noexcept;
  ticker& operator=(ticker&&) noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace v0
}  // namespace tidepool
