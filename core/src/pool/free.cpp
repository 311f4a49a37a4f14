// SPDX-License-Identifier: Apache-2.0
//
// Freeing in general: references, parts, adopted memory, closed pools, misuse. Misuse changes
// nothing, is counted and goes to one handler.
#include "access/store.hpp"
#include "debug/layer.hpp"
#include "pool/pool_core.hpp"
#include "pool/slow_timer.hpp"
#include "pool/this_thread.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Is there a reference that an owner may end? Else all are those of pins and slices, and this free
// is one too many. Exact unless owners race: that no hold changed around the load of the header
// makes both of one moment.
[[nodiscard]] bool has_owner(const record& slot, const cold_record& cold,
                             std::uint64_t header) noexcept {
  if (!any(flags_of(header) & tensor_flags::shared)) {
    return true;  // holds are references, and the first one beside the owner's sets this flag
  }
  for (;;) {
    const std::uint64_t holds = cold.holds.load(std::memory_order_acquire);
    const std::uint64_t now = slot.header.load(std::memory_order_acquire);
    if (now != header) {
      return true;  // not this header's question any more: the caller's exchange fails
    }
    if (cold.holds.load(std::memory_order_acquire) == holds) {
      return references_of(now) > std::uint64_t{pins_of(holds)} + parts_of(holds);
    }
  }
}

// Ends one reference. The header of the last one, whose slot is free then; 0: others are left. A
// misuse is reported, and errc says which.
[[nodiscard]] result<std::uint64_t> end_reference(pool_core& core, record& slot, tensor_id id,
                                                  const stream_ref& stream) noexcept {
  directory& known = core.directory;
  std::uint64_t header = slot.header.load(std::memory_order_acquire);
  // Before this reference ends: the last one may end at once in another thread.
  if (!stream.is_none() && known.slots.is_live(slot, header, id.value()) &&
      references_of(header) > 1) {
    if (core.record_use(id, stream) == errc::out_of_memory) {
      // Nothing can remember it: it is waited for.
      const lane& own = core.lanes.of(slot);
      (void)own.device->source->synchronise(own.device->where, stream);
    }
    header = slot.header.load(std::memory_order_acquire);
  }
  bool is_last = false;
  bool is_told = false;
  do {
    if (!known.slots.is_live(slot, header, id.value())) {
      return core.report_misuse(core.forget_handle(slot, id.value()) ? misuse_kind::after_close
                                                                     : misuse_kind::stale_free,
                                id);
    }
    if (!has_owner(slot, known.slots.cold(slot), header)) {
      return core.report_misuse(misuse_kind::stale_free, id);
    }
    is_last = references_of(header) == 1;
    if (is_last && !is_told) {
      is_told = true;
      core.notify_ended(id);
    }
  } while (!slot.header.compare_exchange_weak(
      header, is_last ? freed_header(id.value()) : header - reference_step,
      std::memory_order_acq_rel, std::memory_order_acquire));
  return is_last ? header : 0;
}

// Ends a tensor that owns no block, and calls what adopted memory is released by.
void end_loose(pool_core& core, record& slot, tensor_flags flags) noexcept {
  if (core.debug != nullptr) [[unlikely]] {
    core.debug->end_loose(slot);
  }
  const cold_record& cold = core.directory.slots.cold(slot);
  void* const data = slot.data.load(std::memory_order_relaxed);
  const std::uint64_t bytes = slot.bytes.load(std::memory_order_relaxed);
  const auto release = any(flags & tensor_flags::adopted) ? cold.release : nullptr;
  void* const context = cold.context;
  core.directory.count_loose(-1);
  if (any(flags & tensor_flags::adopted)) {
    core.directory.pointers.forget_adopted(slot);
  }
  core.directory.slots.release(slot);
  if (release != nullptr) {
    const callback outside;
    release(data, bytes, context);
  }
}

// The header says free; what belonged to the tensor goes. The parent whose reference ends next, or
// none.
[[nodiscard]] tensor_id end_and_get_parent(pool_core& core, record& slot, tensor_flags flags,
                                           const ended_block& how) noexcept {
  directory& known = core.directory;
  cold_record& cold = known.slots.cold(slot);
  tensor_id parent;
  if (any(flags & tensor_flags::keyed)) {
    known.release_key(slot);
  }
  if (any(flags & tensor_flags::slice)) {
    parent = tensor_id::from_value(cold.parent.load(std::memory_order_relaxed));
    known.slots.cold(known.slots.at(parent.value()))
        .holds.fetch_add(one_hold_change - one_part, std::memory_order_acq_rel);
  }
  if (any(flags & tensor_flags::shared)) {
    forget_holds(cold);  // none are left, unless threads raced to free
  }
  if (slot.size_class.load(std::memory_order_relaxed) != 0) {
    core.end_block(slot, how);
  } else {
    end_loose(core, slot, flags);
  }
  // What ends while the pool is closing was not counted: closing waits for this operation first.
  if (core.operations.reached()) {
    core.operations.forget_tensor();
  }
  return parent;
}

}  // namespace

errc pool_core::deallocate(tensor_id id, const stream_ref& stream) noexcept {
  return deallocate(id, stream, find_this_thread(caches));
}

errc pool_core::deallocate(tensor_id id, const stream_ref& stream, front_cache* cache) noexcept {
  if (!id) {
    return errc::ok;
  }
  const std::uint64_t begin = cycle_clock::now();
  const operation guard(*this);
  slow_timer timer(caches.sampler, cache, operation_kind::free, begin);
  // Ending a part may end its parent, and so on.
  for (tensor_id ending = id; ending;) {
    record& slot = directory.slots.at(ending.value());
    const result<std::uint64_t> last = end_reference(*this, slot, ending, stream);
    if (!last) {
      return last.error().code;
    }
    if (*last == 0) {
      return errc::ok;
    }
    const tensor_flags flags = flags_of(*last);
    if (any(flags & tensor_flags::tracked)) {
      accesses->end(ending);
    }
    if (slot.size_class.load(std::memory_order_relaxed) != 0) {
      timer.count();
    }
    ending = end_and_get_parent(*this, slot, flags,
                                {.bytes = slot.bytes.load(std::memory_order_relaxed),
                                 .last = order_of_free(slot, stream, cache),
                                 .used_elsewhere = any(flags & tensor_flags::used_elsewhere),
                                 .cache = cache});
  }
  return errc::ok;
}

// Tells what is known of the id, dead or alive. Pre: no lock is held.
errc pool_core::report_misuse(misuse_kind kind, tensor_id id) noexcept {
  // An id that was never made here is foreign, whatever was done with it.
  if ((kind == misuse_kind::stale_free || kind == misuse_kind::stale_use) &&
      !directory.is_ours(id)) {
    kind = misuse_kind::foreign_id;
  }
  std::optional<memory_damage> past;
  if (debug != nullptr && (kind == misuse_kind::stale_free || kind == misuse_kind::stale_use)) {
    past = past_of(id);
  }
  return incidents.report_misuse(kind, id, past ? &*past : nullptr);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
