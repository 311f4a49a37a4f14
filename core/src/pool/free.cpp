// SPDX-License-Identifier: Apache-2.0
//
// Freeing in general: references, parts, adopted memory, closed pools and misuse. A misuse changes
// no tensor; it is counted and passed to the misuse handler.
#include "access/store.hpp"
#include "debug/layer.hpp"
#include "pool/ended_blocks.hpp"
#include "pool/pool_core.hpp"
#include "pool/slow_timer.hpp"
#include "pool/this_thread.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Is there a reference that an owner may end? If not, all references belong to pins and slices, and
// this free is one too many. The answer is exact unless owners race: no hold changed around the
// load of the header, so header and holds are of the same moment.
[[nodiscard]] bool has_owner(const record& slot, const cold_record& cold,
                             std::uint64_t header) noexcept {
  if (!any(flags_of(header) & tensor_flags::shared)) {
    return true;  // the flag is set with the first reference beside the owner's; holds are such
  }
  for (;;) {
    const std::uint64_t holds = cold.holds.load(std::memory_order_acquire);
    const std::uint64_t now = slot.header.load(std::memory_order_acquire);
    if (now != header) {
      return true;  // the header has changed, so the caller's exchange fails and it asks again
    }
    if (cold.holds.load(std::memory_order_acquire) == holds) {
      return references_of(now) > std::uint64_t{pins_of(holds)} + parts_of(holds);
    }
  }
}

struct ended_reference {
  std::uint64_t last_header = 0;  // the tensor's, where its last reference ended; else 0
  errc code = errc::ok;           // of a misuse
};

// Ends one reference. With the last one the slot is free. A misuse is reported.
[[nodiscard]] ended_reference end_reference(pool_core& core, record& slot, tensor_id id,
                                            const stream_ref& stream) noexcept {
  directory& known = core.directory;
  std::uint64_t header = slot.header.load(std::memory_order_acquire);
  // The use is recorded before this reference ends, because another thread may end the last
  // reference right afterwards.
  if (!stream.is_none() && known.slots.is_live(slot, header, id.value()) &&
      references_of(header) > 1) {
    note_use_or_wait(core, id, stream);
    header = slot.header.load(std::memory_order_acquire);
  }
  bool is_last = false;
  bool is_told = false;
  do {
    if (!known.slots.is_live(slot, header, id.value())) {
      return {.code =
                  core.report_misuse(core.forget_handle(slot, id.value()) ? misuse_kind::after_close
                                                                          : misuse_kind::stale_free,
                                     id)};
    }
    if (!has_owner(slot, known.slots.cold(slot), header)) {
      return {.code = core.report_misuse(misuse_kind::stale_free, id)};
    }
    is_last = references_of(header) == 1;
    if (is_last && !is_told) {
      is_told = true;
      core.notify_ended(id);
    }
  } while (!slot.header.compare_exchange_weak(
      header, is_last ? freed_header(id.value()) : header - reference_step,
      std::memory_order_acq_rel, std::memory_order_acquire));
  return {.last_header = is_last ? header : 0};
}

// Ends a tensor that owns no block. For adopted memory it calls the release callback.
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

// Removes everything that belonged to a tensor whose header already says free. Returns the parent,
// whose reference ends next, or no id.
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
    forget_holds(cold);  // holds are left only if threads raced to free
  }
  if (slot.size_class.load(std::memory_order_relaxed) != 0) {
    core.end_block(slot, how);
  } else {
    end_loose(core, slot, flags);
  }
  // Only a tensor that ends after the close was reached is among its counted tensors. A tensor that
  // ends before is not, because the close waits for this operation first.
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
  // The end of a part may end its parent, and that may end the parent's parent.
  for (tensor_id ending = id; ending;) {
    record& slot = directory.slots.at(ending.value());
    const ended_reference last = end_reference(*this, slot, ending, stream);
    if (last.last_header == 0) {
      return last.code;
    }
    const tensor_flags flags = flags_of(last.last_header);
    const free_order order = order_of_free(slot, stream, cache);
    if (any(flags & tensor_flags::tracked)) {
      accesses->end(ending);
    }
    if (slot.size_class.load(std::memory_order_relaxed) != 0) {
      timer.count();
    }
    ending = end_and_get_parent(*this, slot, flags,
                                {.bytes = slot.bytes.load(std::memory_order_relaxed),
                                 .last = order.last,
                                 .used_elsewhere = any(flags & tensor_flags::used_elsewhere),
                                 .is_untold = order.is_untold,
                                 .cache = cache});
  }
  return errc::ok;
}

// Reports a misuse with the facts known about the id, dead or alive. Pre: no lock is held.
errc pool_core::report_misuse(misuse_kind kind, tensor_id id) noexcept {
  // An id that this pool never made is foreign, for every kind of use.
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
