// SPDX-License-Identifier: Apache-2.0
//
// uncancellable: while it lives, the calling thread cannot be cancelled. Writing to a stream is a
// cancellation point, and a noexcept function must not be cancelled. Objects stay on the stack of
// one thread.
#pragma once

#include <pthread.h>

namespace tidepool {
inline namespace v0 {
namespace detail {

class uncancellable {
 public:
  uncancellable() noexcept { (void)::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~uncancellable() { (void)::pthread_setcancelstate(before_, nullptr); }
  uncancellable(const uncancellable&) = delete;
  uncancellable& operator=(const uncancellable&) = delete;

 private:
  int before_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
