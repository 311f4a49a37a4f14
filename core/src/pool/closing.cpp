// SPDX-License-Identifier: Apache-2.0
//
// Closing a pool, gently or by force, and the end of its handle. Closing has two parts. close()
// itself removes all caches at once. The thread that ends the last operation begun before (see
// leave) then counts or ends the live tensors and gives free memory back.
#include "access/store.hpp"
#include "debug/layer.hpp"
#include "pool/pool_core.hpp"
#include "pool/process.hpp"
#include <tidepool/assert.hpp>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Calls the release callbacks of adopted tensors that have ended.
void release_adopted(slot_table& slots, record* adopted) noexcept {
  while (adopted != nullptr) {
    record& r = *adopted;
    adopted = next_of(r);
    const cold_record& cold = slots.cold(r);
    void* const data = r.data.load(std::memory_order_relaxed);
    const std::size_t bytes = r.bytes.load(std::memory_order_relaxed);
    const auto release = cold.release;
    void* const context = cold.context;
    slots.release(r);
    const callback outside;
    release(data, bytes, context);
  }
}

}  // namespace

std::size_t pool_core::close(close_mode how) noexcept {
  {
    std::unique_lock process_lock(process_mutex());
    const operation guard(*this, may_wait::no);  // fork needs the lock that is held here
    if (operations.want_close(how)) {
      caches.remove_all();
    }
    process_lock.unlock();
    if (guard.nests()) {
      // The operation around this call, or a later one, finishes the close.
      return directory.slots.count_taken();
    }
  }
  operations.wait_until_reached(how);
  if (how == close_mode::orderly) {
    return directory.slots.count_taken();
  }
  operations.wait_for_releases();
  return ended_.exchange(0, std::memory_order_relaxed);
}

// Pre: the calling operation is the only one, no thread has a cache, and closing is wanted.
void pool_core::finish_close() noexcept {
  const close_mode mode = *operations.wanted();
  if (debug != nullptr && !operations.reached()) {
    report_at_close();  // once, and before force ends the leaked tensors
  }
  record* adopted = nullptr;
  if (mode == close_mode::force) {
    adopted = end_all();
  }
  // Each of these keeps the pool alive until a thread frees the live tensor or drops the handle of
  // the ended one.
  std::size_t held = directory.slots.count_taken();
  for (std::size_t i = 0; mode == close_mode::force && i < directory.slots.made(); ++i) {
    held +=
        directory.slots.cold(directory.slots.by_index(i)).handles.load(std::memory_order_relaxed) !=
                0
            ? 1
            : 0;
  }
  (void)stock.drain_ready(true);
  for (const std::unique_ptr<device_entry>& entry : lanes.devices()) {
    (void)entry->source->trim(entry->where, 0);
  }
  // Only close() waits for the release callbacks; other operations go on.
  operations.set_releasing(adopted != nullptr);
  operations.reach_close(mode, held);
  release_adopted(directory.slots, adopted);
  operations.set_releasing(false);
}

// Ends every tensor, even if it has several references. Returns the adopted tensors whose release
// callback is still to be called.
record* pool_core::end_all() noexcept {
  std::size_t count = 0;
  directory.slots.for_each_taken([&](record& r, std::uint64_t header) {
    const std::uint64_t references = references_of(header);
    cold_record& cold = directory.slots.cold(r);
    const std::uint64_t holds = cold.holds.load(std::memory_order_relaxed);
    const std::uint64_t held = std::uint64_t{pins_of(holds)} + parts_of(holds);  // by no handle
    cold.ended.store(directory.slots.id_of(r, header).value(), std::memory_order_relaxed);
    cold.handles.store(
        has_handles_ && references > held ? static_cast<std::uint32_t>(references - held) : 0,
        std::memory_order_relaxed);
    notify_ended(directory.slots.id_of(r, header));
    ++count;
  });
  record* adopted = nullptr;
  directory.slots.for_each_taken([&](record& r, std::uint64_t header) {
    const tensor_flags flags = flags_of(header);
    cold_record& cold = directory.slots.cold(r);
    if (any(flags & tensor_flags::keyed)) {
      directory.release_key(r);
    }
    forget_holds(cold);
    if (any(flags & tensor_flags::tracked)) {
      accesses->end(directory.slots.id_of(r, header));
    }
    r.header.store(freed_header(directory.slots.id_of(r, header).value()),
                   std::memory_order_release);
    if (r.size_class.load(std::memory_order_relaxed) != 0) {
      end_block(r, {.bytes = r.bytes.load(std::memory_order_relaxed),
                    .used_elsewhere = any(flags & tensor_flags::used_elsewhere)});
      caches.sampler.leave_out(operation_kind::free);
      return;
    }
    if (debug != nullptr) {
      debug->end_loose(r);
    }
    directory.count_loose(-1);
    if (any(flags & tensor_flags::adopted)) {
      directory.pointers.forget_adopted(r);
    }
    if (any(flags & tensor_flags::adopted) && cold.release != nullptr) {
      set_next(r, adopted);
      adopted = &r;
    } else {
      directory.slots.release(r);
    }
  });
  ended_.fetch_add(count, std::memory_order_relaxed);
  return adopted;
}

// Drops a handle of a tensor that force ended. False: the id names no such tensor.
bool pool_core::forget_handle(record& slot, std::uint64_t id) noexcept {
  cold_record& cold = directory.slots.cold(slot);
  if (operations.reached() != close_mode::force || self_of(id) != directory.slots.self_of(slot) ||
      cold.ended.load(std::memory_order_relaxed) != id) {
    return false;
  }
  std::uint32_t handles = cold.handles.load(std::memory_order_relaxed);
  while (handles != 0 &&
         !cold.handles.compare_exchange_weak(handles, handles - 1, std::memory_order_relaxed)) {
  }
  if (handles == 1) {
    operations.forget_tensor();
  }
  return true;
}

// Ends the calling thread's operation. If it was the last one, this closes or destroys the pool.
void pool_core::leave() noexcept {
  for (;;) {
    switch (operations.leave()) {
    case operation_count::outcome::must_close:
      finish_close();
      break;
    case operation_count::outcome::last:
      destroy();
      return;
    case operation_count::outcome::left:
      return;
    }
  }
}

// Closes the pool and destroys it, at once or when the last tensor ends.
void pool_core::drop_handle() noexcept {
  (void)close(close_mode::orderly);
  if (operations.leave_handle() == operation_count::outcome::last) {
    destroy();
  }
}

void pool_core::destroy() noexcept {
  TIDEPOOL_ASSERT(2, directory.slots.count_taken() == 0);
  delete this;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
