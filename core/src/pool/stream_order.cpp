// SPDX-License-Identifier: Apache-2.0
//
// The order of streams: when a tensor that more than one stream uses ends, its memory must wait for
// all of them.
//
// A tensor becomes free in the order of the stream that its last reference names, else of its own
// lane. Its block then belongs to that stream's lane, whose later work may use it without waiting.
// If other streams have used the tensor too (record_use, or references that ended there), the block
// goes to the backend at once. The backend hands it out again once all these streams have passed
// the end of the tensor.
#include "debug/layer.hpp"
#include "pool/pool_core.hpp"
#include "pool/this_thread.hpp"

#include <array>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Gives a block that several streams have used to the backend, which hands it out again once all
// of them have passed the end of its tensor.
void give_after(pool_core& core, record& slot, const ended_block& how,
                std::span<const std::uint16_t> others) noexcept {
  lane& own = core.lanes.of(slot);
  lane& last = how.last == nullptr ? own : *how.last;
  const bool for_host = own.device->is_for_host();
  core.stock.count_ended(own, slot.size_class.load(std::memory_order_relaxed), how.bytes);
  const block held = core.directory.slots.block_of(slot);
  core.stock.unbind(slot);
  // For host memory, a call that names no stream would mean that no stream uses the block. So the
  // device's own lane becomes its default stream here.
  const auto stream_of = [](const lane& where) {
    const stream_ref stream = where.stream();
    return stream.is_none() ? stream_ref{.kind = stream_kind::legacy} : stream;
  };
  std::array<stream_ref, 16> after;
  std::size_t n = 0;
  if (!for_host || how.last != nullptr) {
    after[n++] = stream_of(last);
  }
  for (const std::uint16_t number : others) {
    if (n < after.size()) {
      after[n++] = stream_of(core.lanes.at(number));
    } else {
      core.order(core.lanes.at(number), last);
    }
  }
  last.device->source->take_back_after(last.device->where, held, std::span(after).first(n));
}

}  // namespace

// Makes later work of one lane wait for work of another. Memory for the host has no stream that
// could wait, so the host waits.
void pool_core::order(const lane& earlier, const lane& later) noexcept {
  const device_entry& device = *later.device;
  if (device.is_for_host() ||
      !device.source->order(device.where, earlier.stream(), later.stream()).ok()) {
    (void)device.source->synchronise(device.where, earlier.stream());
  }
}

lane* pool_core::order_of_free(record& slot, const stream_ref& stream,
                               front_cache* cache) noexcept {
  lane& own = lanes.of(slot);
  device_entry& device = *own.device;
  if (stream.is_none() || !device.description.stream_ordered) {
    return nullptr;
  }
  const result<lane*> found = lane_for(device, stream, cache);
  if (!found) {
    // The stream can get no lane, so this waits for its work instead.
    (void)device.source->synchronise(device.where, stream);
    return nullptr;
  }
  if (device.is_for_host()) {
    return *found;
  }
  return *found == &own || (*found)->captured_by.load(std::memory_order_acquire) == &own ? nullptr
                                                                                         : *found;
}

errc pool_core::record_use(tensor_id id, const stream_ref& stream) noexcept {
  const operation guard(*this);
  for (;;) {
    record& slot = directory.slots.at(id.value());
    const std::uint64_t header = slot.header.load(std::memory_order_acquire);
    if (!id || !directory.slots.is_live(slot, header, id.value())) {
      return report_misuse(misuse_kind::stale_use, id);
    }
    if (any(flags_of(header) & tensor_flags::slice)) {
      id = tensor_id::from_value(directory.slots.cold(slot).parent.load(std::memory_order_relaxed));
      continue;  // a slice uses its parent's block
    }
    if (any(flags_of(header) & tensor_flags::adopted)) {
      return errc::unsupported;
    }
    lane& own = lanes.of(slot);
    if (!own.device->description.stream_ordered) {
      return errc::ok;
    }
    const result<lane*> elsewhere = lane_for(*own.device, stream, attach_this_thread(caches));
    if (!elsewhere) {
      return elsewhere.error().code;
    }
    if (*elsewhere == &own && !own.device->is_for_host()) {
      return errc::ok;
    }
    if (!directory.uses_elsewhere.add(directory.index_of(slot), (*elsewhere)->number)) {
      return errc::out_of_memory;
    }
    return change_header(id, [](std::uint64_t& full) {
      full |= bits_of(tensor_flags::used_elsewhere);
      return errc::ok;
    });
  }
}

// Ends the block of a tensor. Pre: its header is free, and it is in no list.
void pool_core::end_block(record& slot, const ended_block& ended) noexcept {
  ended_block how = ended;
  lane& own = lanes.of(slot);
  const bool is_open = own.state.load(std::memory_order_acquire) == lane_state::open;
  if (!is_open) [[unlikely]] {
    own.left.fetch_sub(1, std::memory_order_relaxed);
    how.last = how.last == nullptr ? &lanes.of_device(*own.device) : how.last;
    if (debug != nullptr) {
      stock.move_to_lane(slot, *how.last);  // the quarantine holds it for that lane
    }
  }
  stream_uses::lanes others;
  if (how.used_elsewhere) {
    others = directory.uses_elsewhere.take(directory.index_of(slot));
  }
  const bool stays = debug != nullptr || (own.is_arena && is_open);
  if (stays) {
    // The block stays in its lane, so the lane's own stream waits for all others.
    if (how.last != nullptr) {
      order(*how.last, own);
    }
    for (const std::uint16_t number : others) {
      order(lanes.at(number), own);
    }
  } else if (!others.empty() || (how.last != nullptr && own.device->is_for_host())) {
    give_after(*this, slot, how, others);
    return;
  } else if (how.last != nullptr) {
    stock.move_to_lane(slot, *how.last);
  }
  if (debug == nullptr) {
    caches.put(slot, how.bytes, how.cache);
  } else {
    end_checked(slot, how.bytes);
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
