// SPDX-License-Identifier: Apache-2.0
//
// What the pool answers about a tensor, and changes of what it knows. Records are read without a
// lock.
#include "pool/change_header.hpp"
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

// The seqlock's reader: header, fields, header. Fields of a live record change one at a time and by
// atomic stores (name, category, size in place), so a copy between two equal generations is
// consistent.
bool pool_core::read(tensor_id id, tensor_info& info) const noexcept {
  record& r = slots.at(id.value());
  const std::uint64_t header = r.header.load(std::memory_order_acquire);
  if (!id || !slots.is_live(r, header, id.value())) {
    return false;
  }
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
  info.where = lanes.of(r).device->where;
  const cold_record& cold = slots.cold(r);
  info.pins = any(info.flags & tensor_flags::shared)
                  ? pins_of(cold.holds.load(std::memory_order_acquire))
                  : 0;
  info.key = any(info.flags & tensor_flags::keyed) ? cold.key.load(std::memory_order_relaxed) : 0;
  info.parent = any(info.flags & tensor_flags::slice)
                    ? tensor_id::from_value(cold.parent.load(std::memory_order_relaxed))
                    : tensor_id{};
  return generation_of(r.header.load(std::memory_order_acquire)) == generation_of(id.value()) &&
         !is_free(r.header.load(std::memory_order_acquire));
}

result<tensor_id> pool_core::find(std::uint64_t key) noexcept {
  const operation guard(*this);
  const std::optional<std::uint32_t> index = keys_.find(key);
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

result<tensor_id> pool_core::find(const void* data) noexcept {
  const operation guard(*this);
  return pointers_.find(data);
}

result<name_id> pool_core::intern(std::string_view text) noexcept {
  const operation guard(*this);
  return names.intern(text);
}

std::string_view pool_core::name(name_id id) noexcept {
  const operation guard(*this);
  return names.text(id);
}

result<category> pool_core::add_category(std::string_view text, std::uint8_t priority) noexcept {
  const operation guard(*this);
  return categories.add(text, priority);
}

errc pool_core::set_lifecycle(tensor_id id, lifecycle state) noexcept {
  const operation guard(*this);
  if (static_cast<unsigned>(state) >= lifecycle_count) {
    return errc::invalid_argument;
  }
  const errc why = change_header(id, [&](std::uint64_t& header) {
    header = (header & ~lifecycle_mask) | bits_of(state);
    return errc::ok;
  });
  if (why == errc::ok) {
    refresh_entry(*this, id);
  }
  return why;
}

errc pool_core::set_tag(tensor_id id, std::uint64_t mask, std::uint64_t value) noexcept {
  const operation guard(*this);
  record& r = slots.at(id.value());
  std::uint64_t tag = r.tag.load(std::memory_order_acquire);
  do {
    if (!id || !slots.is_live(r, r.header.load(std::memory_order_acquire), id.value())) {
      return report_misuse(misuse_kind::stale_use, id);
    }
  } while (!r.tag.compare_exchange_weak(tag, (tag & ~mask) | value, std::memory_order_acq_rel,
                                        std::memory_order_acquire));
  if (category_of(mask) != category::temporary) {
    refresh_entry(*this, id);
  }
  return errc::ok;
}

void* current_data(pool_core* core, tensor_id id) noexcept {
  tensor_info info;
  return core->read(id, info) ? info.data : nullptr;
}

device current_device(pool_core* core, tensor_id id) noexcept {
  tensor_info info;
  return core->read(id, info) ? info.where : device{};
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
