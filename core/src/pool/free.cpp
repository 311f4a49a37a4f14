// SPDX-License-Identifier: Apache-2.0
//
// Freeing in general: references, parts, adopted memory, closed pools, misuse. Misuse changes
// nothing, is counted and goes to one handler.
#include "access/store.hpp"
#include "debug/layer.hpp"
#include "pool/pool_core.hpp"
#include "pool/thread_caches.hpp"

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

}  // namespace

errc pool_core::deallocate(tensor_id id, const stream_ref& stream) noexcept {
  if (!id) {
    return errc::ok;
  }
  const operation guard(*this);
  slow_frees_.fetch_add(1, std::memory_order_relaxed);
  // Ending a part may end its parent, and so on.
  for (tensor_id ending = id; ending;) {
    record& slot = directory.slots.at(ending.value());
    std::uint64_t header = slot.header.load(std::memory_order_acquire);
    bool last = false;
    bool told = false;
    // Before this reference ends: the last one may end at once in another thread.
    if (!stream.is_none() && directory.slots.is_live(slot, header, ending.value()) &&
        references_of(header) > 1) {
      if (record_use(ending, stream) == errc::out_of_memory) {
        // Nothing can remember it: it is waited for.
        const lane& own = lanes.of(slot);
        (void)own.device->source->synchronise(own.device->where, stream);
      }
      header = slot.header.load(std::memory_order_acquire);
    }
    do {
      if (!directory.slots.is_live(slot, header, ending.value())) {
        return report_misuse(forget_handle(slot, ending.value()) ? misuse_kind::after_close
                                                                 : misuse_kind::stale_free,
                             ending);
      }
      if (!has_owner(slot, directory.slots.cold(slot), header)) {
        return report_misuse(misuse_kind::stale_free, ending);
      }
      last = references_of(header) == 1;
      if (last && !told) {
        told = true;
        notify_ended(ending);
      }
    } while (!slot.header.compare_exchange_weak(
        header, last ? freed_header(ending.value()) : header - reference_step,
        std::memory_order_acq_rel, std::memory_order_acquire));
    if (!last) {
      return errc::ok;
    }
    if (any(flags_of(header) & tensor_flags::tracked)) {
      accesses->end(ending);
    }
    ending = finish_free(slot, flags_of(header), order_of_free(slot, stream));
  }
  return errc::ok;
}

// The header says free; what belonged to the tensor goes. Returns the parent to end next, or none.
// last: the lane in whose order it ended, null: its own.
tensor_id pool_core::finish_free(record& slot, tensor_flags flags, lane* last) noexcept {
  const std::uint64_t bytes = slot.bytes.load(std::memory_order_relaxed);
  cold_record& cold = directory.slots.cold(slot);
  tensor_id parent;
  if (any(flags & tensor_flags::keyed)) {
    directory.release_key(slot);
  }
  if (any(flags & tensor_flags::slice)) {
    parent = tensor_id::from_value(cold.parent.load(std::memory_order_relaxed));
    directory.slots.cold(directory.slots.at(parent.value()))
        .holds.fetch_add(one_hold_change - one_part, std::memory_order_acq_rel);
  }
  if (any(flags & tensor_flags::shared)) {
    forget_holds(cold);  // none are left, unless threads raced to free
  }
  const bool has_block = slot.size_class.load(std::memory_order_relaxed) != 0;
  if (debug_ != nullptr && !has_block) [[unlikely]] {
    debug_->end_loose(slot);
  }
  if (has_block) {
    end_block(slot, bytes, last, any(flags & tensor_flags::used_elsewhere),
              find_this_thread(*this));
  } else {
    void* const data = slot.data.load(std::memory_order_relaxed);
    const auto release = any(flags & tensor_flags::adopted) ? cold.release : nullptr;
    void* const context = cold.context;
    directory.count_loose(-1);
    if (any(flags & tensor_flags::adopted)) {
      directory.pointers.forget_adopted(slot);
    }
    directory.slots.release(slot);
    if (release != nullptr) {
      const callback outside;
      release(data, bytes, context);
    }
  }
  // What ends while the pool is closing was not counted: closing waits for this operation first.
  if (operations.reached()) {
    operations.forget_tensor();
  }
  return parent;
}

errc pool_core::report_misuse(misuse_kind kind, tensor_id id) noexcept {
  // An id that was never made here is foreign, whatever was done with it.
  if ((kind == misuse_kind::stale_free || kind == misuse_kind::stale_use) &&
      !directory.is_ours(id)) {
    kind = misuse_kind::foreign_id;
  }
  std::optional<memory_damage> past;
  if (debug_ != nullptr && (kind == misuse_kind::stale_free || kind == misuse_kind::stale_use)) {
    past = past_of(id);
  }
  return incidents.report_misuse(kind, id, past ? &*past : nullptr);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
