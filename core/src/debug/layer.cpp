// SPDX-License-Identifier: Apache-2.0
//
// debug_layer: lays a tensor out in its block, and checks it when it ends.
//
//   canary:  | guard, as long as the alignment | bytes | guard, to the block's end |
//   pages:   | guard |                           bytes | guard, up to the alignment | page |
#include "debug/layer.hpp"

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Most bytes of one guard that are filled and checked.
constexpr std::size_t longest_guard = 4096;
// The guard in front is as long as the alignment; beyond this alignment there is none.
constexpr std::size_t highest_guarded_alignment = 4096;
// Each protected range may cost two mappings, and a Linux process may have 65530 by default.
constexpr std::size_t most_protected_ranges = 16384;

[[nodiscard]] constexpr std::size_t round_up(std::size_t bytes, std::size_t to) noexcept {
  return (bytes + to - 1) & ~(to - 1);
}
[[nodiscard]] constexpr std::size_t front_of(std::size_t alignment) noexcept {
  return alignment <= highest_guarded_alignment ? alignment : 0;
}

}  // namespace

debug_layer::debug_layer(const debug_options& options, const slot_table& slots) noexcept
    : options_(options), slots_(slots), sites_(options.call_site_frames) {}

bool debug_layer::open() noexcept {
  records_ = address_space::reserve(slots_.capacity() * sizeof(debug_record));
  return static_cast<bool>(records_);
}

guard_mode debug_layer::guard_of(const device_entry& device) const noexcept {
  return options_.guard == guard_mode::pages && !can_protect(device) ? guard_mode::canary
                                                                     : options_.guard;
}

footprint debug_layer::footprint_of(const device_entry& device, std::size_t bytes,
                                    std::size_t alignment) const noexcept {
  switch (guard_of(device)) {
  case guard_mode::canary:
    return {front_of(alignment) + bytes + tail_guard_bytes, alignment};
  case guard_mode::pages:
    return {round_up(bytes, page_bytes()) + page_bytes(), std::max(alignment, page_bytes())};
  case guard_mode::none:
    break;
  }
  return {bytes, alignment};
}

findings debug_layer::begin(record& slot, const lane& where, tensor_id id,
                            const footprint& asked) noexcept {
  const std::uint32_t site = sites_.here();
  const std::shared_lock lock(walk_mutex_);
  debug_record& r = record_of(slot);
  findings found;
  if (r.filled) {
    found = check_fill(r);
  }
  const guard_mode mode = guard_of(*where.device);
  if (mode != options_.guard) {
    skip();
  }
  r.base = static_cast<std::byte*>(slot.data.load(std::memory_order_relaxed));
  r.whole = slot.capacity.load(std::memory_order_relaxed);
  r.data = r.base;
  r.bytes = asked.bytes;
  r.tail_end = r.base + r.whole;
  r.where = &where;
  r.id = id.value();
  r.allocated_at = site;
  r.freed_at = 0;
  r.filled = false;
  r.laid_out = mode != guard_mode::none;
  r.guarded = false;
  if (r.laid_out) {
    lay_out(r, asked, mode);
    fill_guards(r);
    const std::byte* const room_end =
        mode == guard_mode::pages ? r.tail_end : r.tail_end - tail_guard_bytes;
    slot.data.store(r.data, std::memory_order_seq_cst);  // for pointer_index
    slot.capacity.store(static_cast<std::size_t>(room_end - r.data), std::memory_order_release);
    guarded_.fetch_add(1, std::memory_order_relaxed);
  }
  if (options_.poison) {
    (void)fill(where, r.data, fill_of_new_bytes, r.bytes);
  }
  return found;
}

void debug_layer::lay_out(debug_record& r, const footprint& asked, guard_mode mode) noexcept {
  if (mode == guard_mode::canary) {
    r.data = r.base + front_of(asked.alignment);
    return;
  }
  const std::size_t page = page_bytes();
  std::byte* const guard = r.base + round_up(asked.bytes, page);
  r.data = guard - round_up(asked.bytes, std::min(asked.alignment, page));
  r.tail_end = guard;
  if (protect(r, guard, page)) {
    guard_pages_.fetch_add(1, std::memory_order_relaxed);
  }
}

// Fills the guards. Guards that cannot be filled are not checked later.
void debug_layer::fill_guards(debug_record& r) noexcept {
  const auto front = std::min(static_cast<std::size_t>(r.data - r.base), longest_guard);
  std::byte* const end = r.data + r.bytes;
  const auto tail = std::min(static_cast<std::size_t>(r.tail_end - end), longest_guard);
  r.guarded = fill(*r.where, r.data - front, fill_of_guards, front) &&
              fill(*r.where, end, fill_of_guards, tail);
}

// Checks the guards. Pre: they are filled. Post: damaged bytes are filled again.
findings debug_layer::check_guards(debug_record& r, std::uint64_t tag) noexcept {
  findings found;
  const auto add = [&](misuse_kind kind, const comparison& seen, std::ptrdiff_t begin) {
    finding& one = found.found[found.count++];
    one.kind = kind;
    one.damage.id = tensor_id::from_value(r.id);
    one.damage.data = r.data;
    one.damage.bytes = r.bytes;
    one.damage.where = r.where->device->where;
    one.damage.offset = begin + static_cast<std::ptrdiff_t>(seen.first);
    one.damage.damaged_bytes = seen.last - seen.first + 1;
    one.damage.found = seen.found;
    one.tag = tag;
    one.allocated_at = r.allocated_at;
  };
  const auto front = std::min(static_cast<std::size_t>(r.data - r.base), longest_guard);
  const comparison before = compare(*r.where, r.data - front, fill_of_guards, front);
  if (before.differs) {
    add(misuse_kind::underflow, before, -static_cast<std::ptrdiff_t>(front));
  }
  const std::byte* const end = r.data + r.bytes;
  const auto tail = std::min(static_cast<std::size_t>(r.tail_end - end), longest_guard);
  const comparison behind = compare(*r.where, end, fill_of_guards, tail);
  if (behind.differs) {
    add(misuse_kind::overflow, behind, static_cast<std::ptrdiff_t>(r.bytes));
  }
  if (found.count != 0) {
    fill_guards(r);
  }
  return found;
}

// Checks a block that was filled as freed. Pre: none of its pages is protected. Post: damaged bytes
// are filled again.
findings debug_layer::check_fill(const debug_record& r) noexcept {
  findings found;
  const comparison seen = compare(*r.where, r.base, fill_of_freed_bytes, r.whole);
  if (seen.differs) {
    finding& one = found.found[found.count++];
    one.kind = misuse_kind::write_after_free;
    one.damage.id = tensor_id::from_value(r.id);
    one.damage.data = r.data;
    one.damage.bytes = r.bytes;
    one.damage.where = r.where->device->where;
    one.damage.offset = r.base + seen.first - r.data;
    one.damage.damaged_bytes = seen.last - seen.first + 1;
    one.damage.found = seen.found;
    one.tag = r.tag;
    one.allocated_at = r.allocated_at;
    one.freed_at = r.freed_at;
    (void)fill(*r.where, r.base + seen.first, fill_of_freed_bytes, one.damage.damaged_bytes);
  }
  return found;
}

findings debug_layer::resize(record& slot, const lane& where, std::size_t bytes) noexcept {
  const std::shared_lock lock(walk_mutex_);
  debug_record& r = record_of(slot);
  findings found;
  if (r.guarded) {
    found = check_guards(r, slot.tag.load(std::memory_order_relaxed));
  }
  const std::size_t before = r.bytes;
  r.bytes = bytes;
  if (r.guarded) {
    fill_guards(r);
  }
  if (options_.poison && bytes > before) {
    (void)fill(where, r.data + before, fill_of_new_bytes, bytes - before);
  }
  return found;
}

findings debug_layer::end(record& slot, const lane& where) noexcept {
  const std::uint32_t site = sites_.here();
  const std::shared_lock lock(walk_mutex_);
  debug_record& r = record_of(slot);
  findings found;
  r.tag = slot.tag.load(std::memory_order_relaxed);
  r.freed_at = site;
  if (r.guarded) {
    found = check_guards(r, r.tag);
    for (finding& one : found.found) {
      one.freed_at = site;
    }
    r.guarded = false;
  }
  if (r.laid_out) {
    r.laid_out = false;
    slot.data.store(r.base, std::memory_order_seq_cst);  // for pointer_index
    slot.capacity.store(r.whole, std::memory_order_release);
  }
  r.whole = slot.capacity.load(std::memory_order_relaxed);  // the block may have grown in place
  // If the system does not open the pages again, the block stays unfilled in the quarantine.
  if (unprotect(r) && fills_freed()) {
    r.filled = fill(where, r.base, fill_of_freed_bytes, r.whole);
  }
  return found;
}

void debug_layer::begin_loose(const record& slot, tensor_id id) noexcept {
  const std::uint32_t site = sites_.here();
  const std::shared_lock lock(walk_mutex_);
  debug_record& r = record_of(slot);
  r = {};
  r.id = id.value();
  r.allocated_at = site;
}

void debug_layer::end_loose(const record& slot) noexcept {
  const std::uint32_t site = sites_.here();
  const std::shared_lock lock(walk_mutex_);
  debug_record& r = record_of(slot);
  r.tag = slot.tag.load(std::memory_order_relaxed);
  r.freed_at = site;
}

bool debug_layer::fill(const lane& where, std::byte* dst, std::byte value,
                       std::size_t bytes) noexcept {
  const bool done = fill_bytes(where, dst, value, bytes);
  skipped_.fetch_add(done ? 0 : 1, std::memory_order_relaxed);
  return done;
}

comparison debug_layer::compare(const lane& where, const std::byte* src, std::byte value,
                                std::size_t bytes) noexcept {
  const comparison seen = compare_bytes(where, src, value, bytes);
  if (seen.readable) {
    verified_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  } else {
    skip();
  }
  return seen;
}

bool debug_layer::protect(debug_record& r, std::byte* from, std::size_t bytes) noexcept {
  const std::size_t others = protected_ranges_.fetch_add(1, std::memory_order_relaxed);
  if (others >= most_protected_ranges || !protect_pages(from, bytes, false)) {
    protected_ranges_.fetch_sub(1, std::memory_order_relaxed);
    skip();
    return false;
  }
  r.protected_from = from;
  r.protected_bytes = bytes;
  return true;
}

bool debug_layer::unprotect(debug_record& r) noexcept {
  if (r.protected_from == nullptr) {
    return true;
  }
  if (!protect_pages(r.protected_from, r.protected_bytes, true)) {
    return false;
  }
  protected_ranges_.fetch_sub(1, std::memory_order_relaxed);
  r.protected_from = nullptr;
  return true;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
