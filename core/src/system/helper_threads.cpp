// SPDX-License-Identifier: Apache-2.0
//
// with_helpers: starts the helpers, works, and joins them with cancellation off.
#include <tidepool/support/helper_threads.hpp>

#include <pthread.h>

#include <algorithm>
#include <array>
#include <span>
#include <thread>

namespace tidepool {
inline namespace v0 {
namespace support {

void with_helpers(std::size_t threads, void (*work)(void* context) noexcept,
                  void* context) noexcept {
  std::array<std::thread, 63> helpers;
  const std::size_t wanted = std::min(std::max<std::size_t>(threads, 1) - 1, helpers.size());
  for (std::thread& helper : std::span(helpers).first(wanted)) {
    try {
      helper = std::thread([=] { work(context); });
    } catch (...) {
      break;
    }
  }
  work(context);
  // Joining is a cancellation point, and a noexcept function must not be cancelled.
  int cancellable = 0;
  static_cast<void>(::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancellable));
  for (std::thread& helper : helpers) {
    if (helper.joinable()) {
      helper.join();
    }
  }
  static_cast<void>(::pthread_setcancelstate(cancellable, nullptr));
}

}  // namespace support
}  // namespace v0
}  // namespace tidepool
