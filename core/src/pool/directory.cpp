// SPDX-License-Identifier: Apache-2.0
//
// directory: reads records, enters keys, and tells which ids this pool may have made.
#include "pool/directory.hpp"

#include <optional>

namespace tidepool {
inline namespace v0 {
namespace detail {

// The seqlock's reader: header, fields, header. Fields of a live record change one at a time and by
// atomic stores (name, category, size in place), so a copy between two equal generations is
// consistent.
std::optional<tensor_info> directory::read(tensor_id id) const noexcept {
  record& r = slots.at(id.value());
  const std::uint64_t header = r.header.load(std::memory_order_acquire);
  if (!id || !slots.is_live(r, header, id.value())) {
    return std::nullopt;
  }
  tensor_info info;
  const std::uint64_t tag = r.tag.load(std::memory_order_acquire);
  info.id = id;
  info.data = r.data.load(std::memory_order_acquire);
  info.bytes = r.bytes.load(std::memory_order_acquire);
  info.capacity = r.capacity.load(std::memory_order_acquire);
  info.category = category_of(tag);
  info.name = name_of(tag);
  info.stream = stream_of(tag);
  info.lifecycle = lifecycle_of(header);
  info.flags = flags_of(header);
  info.references = static_cast<std::uint32_t>(references_of(header));
  info.where = lanes_.of(r).device->where;
  const cold_record& cold = slots.cold(r);
  info.pins = any(info.flags & tensor_flags::shared)
                  ? pins_of(cold.holds.load(std::memory_order_acquire))
                  : 0;
  info.key = any(info.flags & tensor_flags::keyed) ? cold.key.load(std::memory_order_relaxed) : 0;
  info.parent = any(info.flags & tensor_flags::slice)
                    ? tensor_id::from_value(cold.parent.load(std::memory_order_relaxed))
                    : tensor_id{};
  const std::uint64_t after = r.header.load(std::memory_order_acquire);
  const bool is_same = generation_of(after) == generation_of(id.value()) && !is_free(after);
  return is_same ? std::optional(info) : std::nullopt;
}

bool directory::is_ours(tensor_id id) const noexcept {
  const std::uint64_t value = id.value();
  return (value & tag_mask) == slots.pool_tag() && (value & free_bit) == 0 &&
         (value & full_bit) == 0 && (self_of(value) >> slot_shift) < slots.made();
}

bool directory::change_tag(tensor_id id, std::uint64_t mask, std::uint64_t value) noexcept {
  record& r = slots.at(id.value());
  std::uint64_t tag = r.tag.load(std::memory_order_acquire);
  do {
    if (!id || !slots.is_live(r, r.header.load(std::memory_order_acquire), id.value())) {
      return false;
    }
  } while (!r.tag.compare_exchange_weak(tag, (tag & ~mask) | value, std::memory_order_acq_rel,
                                        std::memory_order_acquire));
  return true;
}

result<tensor_id> directory::find(std::uint64_t key) const noexcept {
  const std::optional<std::uint32_t> index = keys.find(key);
  if (!index) {
    return errc::not_found;
  }
  const record& r = slots.by_index(*index);
  const std::uint64_t header = r.header.load(std::memory_order_acquire);
  if (is_free(header) || !any(flags_of(header) & tensor_flags::keyed) ||
      slots.cold(r).key.load(std::memory_order_relaxed) != key) {
    return errc::not_found;  // ending, or being made
  }
  return slots.id_of(r, header);
}

status directory::claim_key(std::uint64_t key, record& slot) noexcept {
  if (key == 0) {
    return {};
  }
  slots.cold(slot).key.store(key, std::memory_order_relaxed);
  const flat_index::insertion entered = keys.insert(
      key, index_of(slot), generation_of(next_id(slot.header.load(std::memory_order_relaxed))));
  if (!entered.stored) {
    return {.code = errc::out_of_memory, .text = "no memory for the key index"};
  }
  if (!entered.added) {
    return {.code = errc::key_in_use, .text = "a live tensor has this key"};
  }
  return {};
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
