// SPDX-License-Identifier: Apache-2.0
//
// membarrier(2) through syscall(2): glibc has no wrapper.
#include "asymmetric_barrier.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace tidepool {
inline namespace v0 {
namespace detail {

bool asymmetric_barrier_available() noexcept {
  if (thread_sanitizer) {
    return false;
  }
  static const bool available =
      ::syscall(__NR_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
  return available;
}

void asymmetric_barrier() noexcept {
  // ThreadSanitizer knows no fences, g++ says so, and it never comes here.
  if constexpr (!thread_sanitizer) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  ::syscall(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
