// SPDX-License-Identifier: Apache-2.0
//
// uncancellable: while it lives, the calling thread cannot be cancelled. Writing to a stream is a
// point of cancellation, which no noexcept function may be. An object of one thread's stack.
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
