// SPDX-License-Identifier: Apache-2.0
//
// References and parts: retain, slices, adopted memory, pins, resizing in place.
#include "debug/layer.hpp"
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

errc pool_core::retain(tensor_id id) noexcept {
  const operation guard(*this);
  return change_header(id, [](std::uint64_t& header) {
    if (references_of(header) == most_references) {
      return errc::too_many;
    }
    header += reference_step;
    header |= bits_of(tensor_flags::shared);
    return errc::ok;
  });
}

// A slot without a block, for a tensor that owns no memory of ours; with its key, if it has one.
result<record*> pool_core::open_loose(lane& where, std::uint64_t key) noexcept {
  record* slot = nullptr;
  if (directory.slots.acquire(std::span(&slot, 1)) == 0) {
    recall(true);  // ready slots hold numbers too
    if (directory.slots.acquire(std::span(&slot, 1)) == 0) {
      return no_slots(0, where.device->where);
    }
  }
  if (const status why = directory.claim_key(key, *slot); !why.ok()) {
    directory.slots.release(*slot);
    return why;
  }
  slot->size_class.store(0, std::memory_order_release);
  slot->lane.store(where.number, std::memory_order_release);
  slot->magazine.store(front_cache::offset_of_none(), std::memory_order_release);
  return slot;
}

// The opposite, for a slot that became no tensor.
void pool_core::close_loose(record& slot, std::uint64_t key) noexcept {
  if (key != 0) {
    directory.release_key(slot);
  }
  directory.slots.release(slot);
}

// Makes the tensor of an open loose slot. Nobody is told yet.
raw_tensor pool_core::make_loose(record& slot, const loose_tensor& what) noexcept {
  const std::uint64_t id = next_id(slot.header.load(std::memory_order_relaxed));
  if (debug_ != nullptr) [[unlikely]] {
    debug_->begin_loose(slot, tensor_id::from_value(id));
  }
  slot.data.store(what.data, std::memory_order_release);
  slot.capacity.store(what.bytes, std::memory_order_release);
  slot.bytes.store(what.bytes, std::memory_order_release);
  slot.tag.store(what.tag, std::memory_order_release);
  const tensor_flags flags =
      begin_entry(*this, slot, tensor_id::from_value(id), what.state, what.flags);
  slot.header.store(full_header(id, 1, what.state, flags), std::memory_order_release);
  directory.count_loose(1);
  return raw_tensor{what.data, tensor_id::from_value(id)};
}

raw_tensor pool_core::publish_loose(record& slot, const loose_tensor& what) noexcept {
  const raw_tensor made = make_loose(slot, what);
  notify_made(made.id);
  return made;
}

result<raw_tensor> pool_core::adopt(void* data, std::size_t bytes, device where,
                                    const adopt_options& options) noexcept {
  const operation guard(*this);
  allocation_request request{.bytes = bytes,
                             .where = where,
                             .key = options.key,
                             .name = options.name,
                             .category = options.category,
                             .lifecycle = options.lifecycle,
                             .flags = options.tracked
                                          ? tensor_flags::adopted | tensor_flags::tracked
                                          : tensor_flags::adopted};
  const result<lane*> home = check_request(request);
  status why = home.error();
  if (why.ok() && data == nullptr && bytes != 0) {
    why = {.code = errc::invalid_argument,
           .requested = bytes,
           .where = where,
           .text = "null data with a size"};
  }
  if (why.ok()) {
    const result<record*> slot = open_loose(**home, options.key);
    why = slot.error();
    if (slot) {
      cold_record& cold = directory.slots.cold(**slot);
      cold.release = options.release;
      cold.context = options.context;
      raw_tensor made;
      if (directory.pointers.adopt(**slot, data, [&] {
            made = make_loose(**slot, {.data = data,
                                       .bytes = bytes,
                                       .tag = make_tag(options.name, options.category, 0),
                                       .state = request.lifecycle,
                                       .flags = request.flags});
          })) {
        notify_made(made.id);
        return made;
      }
      close_loose(**slot, options.key);
      why = {.code = errc::out_of_memory,
             .requested = bytes,
             .where = where,
             .text = "no memory for the pointer index"};
    }
  }
  incidents.failed(why);
  return why;
}

result<raw_tensor> pool_core::slice(tensor_id of, std::size_t offset, std::size_t bytes) noexcept {
  const operation guard(*this);
  if (is_closed()) {
    (void)report_misuse(misuse_kind::after_close, of);
    return errc::closed;
  }
  if (const errc code = retain(of); code != errc::ok) {
    return code;  // from here on the parent stays
  }
  record& parent = directory.slots.at(of.value());
  const std::size_t whole = parent.bytes.load(std::memory_order_acquire);
  lane& where = lanes.of(parent);
  const result<record*> slot =
      offset <= whole && bytes <= whole - offset
          ? open_loose(where, 0)
          : result<record*>(status{.code = errc::invalid_argument,
                                   .requested = bytes,
                                   .where = where.device->where,
                                   .text = "the slice reaches beyond its tensor"});
  if (!slot) {
    (void)deallocate(of, {});
    incidents.failed(slot.error());
    return slot.error();
  }
  directory.slots.cold(parent).holds.fetch_add(one_hold_change + one_part,
                                               std::memory_order_acq_rel);
  auto* const begin = static_cast<std::byte*>(parent.data.load(std::memory_order_acquire));
  directory.slots.cold(**slot).parent.store(of.value(), std::memory_order_relaxed);
  return publish_loose(**slot,
                       {.data = begin == nullptr ? nullptr : begin + offset,
                        .bytes = bytes,
                        .tag = parent.tag.load(std::memory_order_acquire),
                        .state = lifecycle_of(parent.header.load(std::memory_order_acquire)),
                        .flags = tensor_flags::slice});
}

// A pin is a reference as well: what is pinned cannot end under its user.
result<void*> pool_core::pin(tensor_id id) noexcept {
  const operation guard(*this);
  if (const errc code = retain(id); code != errc::ok) {
    return code;
  }
  record& slot = directory.slots.at(id.value());
  directory.slots.cold(slot).holds.fetch_add(one_hold_change + one_pin, std::memory_order_acq_rel);
  (void)change_header(id, [](std::uint64_t& header) {
    header |= bits_of(tensor_flags::pinned_in_place);
    return errc::ok;
  });
  return slot.data.load(std::memory_order_acquire);
}

errc pool_core::unpin(tensor_id id) noexcept {
  const operation guard(*this);
  record& slot = directory.slots.at(id.value());
  if (!id ||
      !directory.slots.is_live(slot, slot.header.load(std::memory_order_acquire), id.value())) {
    return report_misuse(misuse_kind::stale_use, id);
  }
  std::atomic<std::uint64_t>& holds = directory.slots.cold(slot).holds;
  std::uint64_t seen = holds.load(std::memory_order_acquire);
  do {
    if (pins_of(seen) == 0) {
      (void)report_misuse(misuse_kind::unbalanced, id);
      return errc::invalid_argument;
    }
  } while (!holds.compare_exchange_weak(seen, seen + one_hold_change - one_pin,
                                        std::memory_order_acq_rel, std::memory_order_acquire));
  if (pins_of(seen) == 1) {
    (void)change_header(id, [&](std::uint64_t& header) {
      if (pins_of(holds.load(std::memory_order_acquire)) == 0) {
        header &= ~bits_of(tensor_flags::pinned_in_place);
      }
      return errc::ok;
    });
  }
  return deallocate(id, {});
}

errc pool_core::resize(tensor_id id, std::size_t bytes) noexcept {
  const operation guard(*this);
  record& slot = directory.slots.at(id.value());
  const std::uint64_t header = slot.header.load(std::memory_order_acquire);
  if (!id || !directory.slots.is_live(slot, header, id.value())) {
    return report_misuse(misuse_kind::stale_use, id);
  }
  const std::uint64_t old_bytes = slot.bytes.load(std::memory_order_acquire);
  if (bytes == old_bytes) {
    return errc::ok;
  }
  if (references_of(header) != 1 || slot.size_class.load(std::memory_order_acquire) == 0 ||
      bytes == 0) {
    return errc::unsupported;
  }
  lane& where = lanes.of(slot);
  if (bytes > slot.capacity.load(std::memory_order_acquire)) {
    if (debug_ != nullptr && debug_->is_laid_out(slot)) {
      return errc::unsupported;  // a guard stands behind it
    }
    const result<std::size_t> grown =
        where.device->source->extend(where.device->where, directory.slots.block_of(slot), bytes);
    if (!grown) {
      return grown.error().code;
    }
    slot.capacity.store(*grown, std::memory_order_release);
    slot.fit = *grown;
    // The longer block belongs to another bin from now on.
    rebin(where, slot, old_bytes);
  }
  if (debug_ != nullptr) [[unlikely]] {
    (void)report_findings(debug_->resize(slot, where, bytes));
  }
  slot.bytes.store(bytes, std::memory_order_release);
  const std::lock_guard lock(where.mutex);
  where.counts_of(slot.size_class.load(std::memory_order_relaxed)).requested += bytes - old_bytes;
  where.device->publish_live(bytes - old_bytes);
  return errc::ok;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
