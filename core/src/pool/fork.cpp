// SPDX-License-Identifier: Apache-2.0
//
// fork of one pool. The pool stands still while the process is copied. The child has one thread
// only; it takes over the blocks that the other threads kept ready. Only pool_list.cpp calls this.
#include "access/store.hpp"
#include "pool/pool_core.hpp"
#include "pool/this_thread.hpp"

#include <memory>

namespace tidepool {
inline namespace v0 {
namespace detail {

void pool_core::pause_for_fork() noexcept {
  accesses->lock_for_fork();  // operation_count does not count the recording of batches
  caches.list.pause(find_this_thread(caches));
}

void pool_core::resume_after_fork() noexcept {
  accesses->unlock_after_fork();
  caches.list.resume();
}

// Only this thread is left. It calls no backend: a child that only calls exec must not touch a
// device.
void pool_core::continue_in_child(bool has_barrier) noexcept {
  operations.continue_in_child();
  const operation_count::own_operations own = operations.of_this_thread();
  if (own.counted == 0) {
    stock.climbing.store(0, std::memory_order_relaxed);
    lanes.reserved.forget_suspensions();
    for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
      entry->reserved.forget_suspensions();
    }
  }
  incidents.continue_in_child(own.observing);
  if (!caches.continue_in_child(find_this_thread(caches), has_barrier)) {
    gate = offset_of_gate(pool_gates);  // the one that stays closed
  }
  resume_after_fork();
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
