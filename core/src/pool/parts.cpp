// SPDX-License-Identifier: Apache-2.0
//
// Tensors without a block of their own (slices, adopted memory, zero bytes), and resizing in place.
#include "debug/layer.hpp"
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Takes a slot without a block, for a tensor that owns no memory of the pool, and enters its key if
// it has one.
[[nodiscard]] result<record*> take_slot_without_block(pool_core& core, lane& where,
                                                      std::uint64_t key) noexcept {
  directory& known = core.directory;
  record* slot = nullptr;
  if (known.slots.acquire(std::span(&slot, 1)) == 0) {
    core.recall(true);  // every ready block occupies a slot; this frees those slots
    if (known.slots.acquire(std::span(&slot, 1)) == 0) {
      return no_slots(0, where.device->where);
    }
  }
  if (const status why = known.claim_key(key, *slot); !why.ok()) {
    known.slots.release(*slot);
    return why;
  }
  slot->size_class.store(0, std::memory_order_release);
  slot->lane.store(where.number, std::memory_order_release);
  slot->magazine.store(front_cache::offset_of_none(), std::memory_order_release);
  return slot;
}

// Makes the tensor in a slot without a block. The observer is not told yet.
[[nodiscard]] raw_tensor publish_loose(pool_core& core, record& slot,
                                       const loose_tensor& what) noexcept {
  const std::uint64_t id = next_id(slot.header.load(std::memory_order_relaxed));
  if (core.debug != nullptr) [[unlikely]] {
    core.debug->begin_loose(slot, tensor_id::from_value(id));
  }
  slot.data.store(what.data, std::memory_order_release);
  slot.capacity.store(what.bytes, std::memory_order_release);
  slot.bytes.store(what.bytes, std::memory_order_release);
  slot.tag.store(what.tag, std::memory_order_release);
  const tensor_flags flags = begin_entry(core, tensor_id::from_value(id), what.state, what.flags);
  slot.header.store(full_header(id, 1, what.state, flags), std::memory_order_release);
  core.directory.count_loose(1);
  return {what.data, tensor_id::from_value(id)};
}

// Makes a tensor of adopted memory, if the index of addresses has room for it.
[[nodiscard]] result<raw_tensor> publish_adopted(pool_core& core, lane& where, std::uint64_t key,
                                                 const adopted_tensor& what) noexcept {
  const result<record*> slot = take_slot_without_block(core, where, key);
  if (!slot) {
    return slot.error();
  }
  cold_record& cold = core.directory.slots.cold(**slot);
  cold.release = what.release;
  cold.context = what.context;
  raw_tensor made;
  if (core.directory.pointers.adopt(**slot, what.tensor.data,
                                    [&] { made = publish_loose(core, **slot, what.tensor); })) {
    return made;
  }
  if (key != 0) {
    core.directory.release_key(**slot);
  }
  core.directory.slots.release(**slot);
  return status{.code = errc::out_of_memory,
                .requested = what.tensor.bytes,
                .where = where.device->where,
                .text = "no memory for the pointer index"};
}

}  // namespace

// Makes and publishes a tensor without a block of its own.
result<raw_tensor> pool_core::make_loose(lane& where, std::uint64_t key,
                                         const loose_tensor& what) noexcept {
  const result<record*> slot = take_slot_without_block(*this, where, key);
  if (!slot) {
    return slot.error();
  }
  const raw_tensor made = publish_loose(*this, **slot, what);
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
  const result<lane*> found = check_request(request);
  const result<raw_tensor> made =
      !found ? result<raw_tensor>(found.error())
      : data == nullptr && bytes != 0
          ? result<raw_tensor>(status{.code = errc::invalid_argument,
                                      .requested = bytes,
                                      .where = where,
                                      .text = "null data with a size"})
          : publish_adopted(*this, **found, options.key,
                            {.tensor = {.data = data,
                                        .bytes = bytes,
                                        .tag = make_tag(options.name, options.category, 0),
                                        .state = request.lifecycle,
                                        .flags = request.flags},
                             .release = options.release,
                             .context = options.context});
  if (made) {
    notify_made(made->id);
  } else {
    incidents.failed(made.error());
  }
  return made;
}

result<raw_tensor> pool_core::slice(tensor_id parent_id, std::size_t offset,
                                    std::size_t bytes) noexcept {
  const operation guard(*this);
  if (is_closed()) {
    (void)report_misuse(misuse_kind::after_close, parent_id);
    return errc::closed;
  }
  if (const errc code = retain(parent_id); code != errc::ok) {
    return code;
  }
  // The reference from retain keeps the parent alive from here on.
  record& parent = directory.slots.at(parent_id.value());
  const std::size_t size = parent.bytes.load(std::memory_order_acquire);
  lane& where = lanes.of(parent);
  const bool is_within = offset <= size && bytes <= size - offset;
  auto* const begin = static_cast<std::byte*>(parent.data.load(std::memory_order_acquire));
  // The hold is counted before the slice is alive, so it exists from the slice's first moment.
  const result<record*> slot =
      is_within ? take_slot_without_block(*this, where, 0)
                : result<record*>(status{.code = errc::invalid_argument,
                                         .requested = bytes,
                                         .where = where.device->where,
                                         .text = "the slice reaches beyond its tensor"});
  if (!slot) {
    (void)deallocate(parent_id, {});
    incidents.failed(slot.error());
    return slot.error();
  }
  directory.slots.cold(parent).holds.fetch_add(one_hold_change + one_part,
                                               std::memory_order_acq_rel);
  directory.slots.cold(**slot).parent.store(parent_id.value(), std::memory_order_relaxed);
  const raw_tensor made =
      publish_loose(*this, **slot,
                    {.data = begin == nullptr ? nullptr : begin + offset,
                     .bytes = bytes,
                     .tag = parent.tag.load(std::memory_order_acquire),
                     .state = lifecycle_of(parent.header.load(std::memory_order_acquire)),
                     .flags = tensor_flags::slice});
  notify_made(made.id);
  return made;
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
    if (debug != nullptr && debug->is_laid_out(slot)) {
      return errc::unsupported;  // the bytes behind the tensor are a guard
    }
    const result<std::size_t> grown =
        where.device->source->extend(where.device->where, directory.slots.block_of(slot), bytes);
    if (!grown) {
      return grown.error().code;
    }
    slot.capacity.store(*grown, std::memory_order_release);
    slot.usable_bytes = *grown;
    // The longer block may belong to another bin.
    stock.change_class(where, slot, old_bytes);
  }
  if (debug != nullptr) [[unlikely]] {
    (void)report_findings(debug->resize(slot, where, bytes));
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
