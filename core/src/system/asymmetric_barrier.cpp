// SPDX-License-Identifier: Apache-2.0
//
// membarrier(2) through syscall(2): glibc has no wrapper.
#include "system/asymmetric_barrier.hpp"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Written by the first pool and by the only thread of a new child.
enum class permission : int { unknown, refused, granted };
constinit std::atomic<permission> registered{permission::unknown};

// A filter of system calls may be installed after pools were made, and refuse membarrier although
// it was granted before. Then this takes the write permission from a page that is in use. The
// system must interrupt every processor that runs this process to drop its translation, which is a
// barrier for all threads, older and slower than membarrier. It does not work on aarch64, whose
// processors drop translations without an interrupt; there such a filter must allow membarrier.
constinit std::mutex page_mutex;
alignas(4096) constinit unsigned char page[4096] = {1};  // writable under page_mutex only

void barrier_by_protection() noexcept {
  const std::lock_guard lock(page_mutex);
  if (::mprotect(page, sizeof page, PROT_READ | PROT_WRITE) == 0) {
    static_cast<volatile unsigned char*>(page)[0] = 1;  // in use
    (void)::mprotect(page, sizeof page, PROT_READ);
  }
}

bool register_process() noexcept {
  const bool granted =
      !thread_sanitizer &&
      ::syscall(__NR_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
  registered.store(granted ? permission::granted : permission::refused, std::memory_order_release);
  return granted;
}

}  // namespace

bool asymmetric_barrier_available() noexcept {
  const permission known = registered.load(std::memory_order_acquire);
  return known == permission::unknown ? register_process() : known == permission::granted;
}

bool renew_asymmetric_barrier() noexcept {
  return registered.load(std::memory_order_acquire) == permission::granted && register_process();
}

void asymmetric_barrier() noexcept {
  // ThreadSanitizer does not support fences, and g++ warns of them. Under it this is never called.
  if constexpr (!thread_sanitizer) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  if (::syscall(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0) {
    barrier_by_protection();
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
