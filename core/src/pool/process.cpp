// SPDX-License-Identifier: Apache-2.0
//
// process: the mutex, the tags and the mark of a fork.
#include "pool/process.hpp"

#include "record/record.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

constinit std::mutex process_lock;
constinit std::uint64_t used_tags = 1;  // guarded by process_lock; bit t: tag t, 0 is never given
constinit unsigned next_serial = 0;     // guarded by process_lock

}  // namespace

constinit std::atomic<std::uint32_t> forking{0};
constinit thread_local bool this_thread_forks = false;

std::mutex& process_mutex() noexcept {
  return process_lock;
}

unsigned acquire_pool_tag() noexcept {
  const std::lock_guard lock(process_lock);
  for (unsigned tag = 1; tag <= tag_mask; ++tag) {
    if ((used_tags >> tag & 1) == 0) {
      used_tags |= std::uint64_t{1} << tag;
      return tag;
    }
  }
  return 0;
}

void release_pool_tag(unsigned tag) noexcept {
  const std::lock_guard lock(process_lock);
  used_tags &= ~(std::uint64_t{1} << tag);
}

void set_pool_tags(std::uint64_t tags) noexcept {
  used_tags = tags | 1;
}

unsigned next_pool_serial() noexcept {
  const std::lock_guard lock(process_lock);
  return next_serial++;
}

void begin_fork() noexcept {
  this_thread_forks = true;
  forking.store(1, std::memory_order_seq_cst);
}

void end_fork() noexcept {
  this_thread_forks = false;
  forking.store(0, std::memory_order_seq_cst);
  forking.notify_all();
}

void wait_for_fork() noexcept {
  forking.wait(1, std::memory_order_acquire);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
