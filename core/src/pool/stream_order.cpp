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
#include "pool/ended_blocks.hpp"
#include "pool/pool_core.hpp"
#include "pool/this_thread.hpp"

#include <algorithm>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace detail {

// Makes later work of one lane wait for work of another. Memory for the host has no stream that
// could wait, so the host waits. False: the order cannot be made, because a stream captures.
bool pool_core::order(const lane& earlier, const lane& later) noexcept {
  const device_entry& device = *later.device;
  if (!device.is_for_host()) {
    const status why = device.source->order(device.where, earlier.stream(), later.stream());
    if (why.ok() || why.code == errc::stream_captures) {
      return why.ok();
    }
  }
  return device.source->synchronise(device.where, earlier.stream()).ok();
}

namespace {

// A block stays in its lane, so the lane's own stream waits for all others. An arena has the stream
// that captures with it. False: some could not be ordered.
[[nodiscard]] bool order_uses(pool_core& core, lane& own, const ended_block& how,
                              lane_numbers others) noexcept {
  if (how.last == nullptr && !how.is_untold && others.empty()) {
    return true;
  }
  lane* const later = own.is_arena ? core.lanes.captured_with(own) : &own;
  if (later == nullptr || how.is_untold) {
    return false;
  }
  if (how.last != nullptr && how.last != later && !core.order(*how.last, *later)) {
    return false;
  }
  return std::all_of(others.begin(), others.end(), [&](std::uint16_t number) {
    return number == later->number ||
           (number != stream_uses::untold && core.order(core.lanes.at(number), *later));
  });
}

void end_in_its_lane(pool_core& core, record& slot, const ended_block& how,
                     lane_numbers others) noexcept {
  lane& own = core.lanes.of(slot);
  const bool is_ordered = order_uses(core, own, how, others);
  if (core.debug == nullptr) {
    if (is_ordered) {
      core.caches.put(slot, how.bytes, how.cache);
    } else {
      hold(core, slot, how, others);
    }
  } else if (is_ordered) {
    core.end_checked(slot, how.bytes);
  } else {
    check_ended(core, slot);
    give_after(core, slot, how, others);
  }
}

}  // namespace

free_order pool_core::order_of_free(record& slot, const stream_ref& stream,
                                    front_cache* cache) noexcept {
  lane& own = lanes.of(slot);
  device_entry& device = *own.device;
  if (stream.is_none() || !device.description.stream_ordered) {
    return {};
  }
  const result<lane*> found = lane_for(device, stream, cache);
  if (!found) {
    // The stream can get no lane, so this waits for its work instead, unless it captures.
    return {.is_untold = !device.source->synchronise(device.where, stream).ok()};
  }
  if (device.is_for_host()) {
    return {.last = *found};
  }
  const bool is_own =
      *found == &own || (*found)->captured_by.load(std::memory_order_acquire) == &own;
  return {.last = is_own ? nullptr : *found};
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
    if (!elsewhere && elsewhere.error().code != errc::stream_captures) {
      return elsewhere.error().code;
    }
    if (elsewhere && *elsewhere == &own && !own.device->is_for_host()) {
      return errc::ok;
    }
    // A stream that captures, and was never named before, can get no lane now.
    const std::uint16_t number = elsewhere ? (*elsewhere)->number : stream_uses::untold;
    if (!directory.uses_elsewhere.add(directory.index_of(slot), number)) {
      return errc::out_of_memory;
    }
    return change_header(id, [](std::uint64_t& full) {
      full |= bits_of(tensor_flags::used_elsewhere);
      return errc::ok;
    });
  }
}

void note_use_or_wait(pool_core& core, tensor_id id, const stream_ref& stream) noexcept {
  if (core.record_use(id, stream) != errc::out_of_memory) {
    return;
  }
  for (;;) {
    record& slot = core.directory.slots.at(id.value());
    const std::uint64_t header = slot.header.load(std::memory_order_acquire);
    if (!core.directory.slots.is_live(slot, header, id.value())) {
      return;
    }
    if (any(flags_of(header) & tensor_flags::slice)) {
      const cold_record& cold = core.directory.slots.cold(slot);
      id = tensor_id::from_value(cold.parent.load(std::memory_order_relaxed));
      continue;
    }
    const device_entry& device = *core.lanes.of(slot).device;
    if (!device.source->synchronise(device.where, stream).ok()) {
      core.directory.uses_elsewhere.add_untold(core.directory.index_of(slot));
      (void)core.change_header(id, [](std::uint64_t& full) {
        full |= bits_of(tensor_flags::used_elsewhere);
        return errc::ok;
      });
    }
    return;
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
    if (auto noted = directory.uses_elsewhere.take(directory.index_of(slot))) {
      others = std::move(*noted);
    } else {
      how.is_untold = true;
    }
  }
  if (debug != nullptr || (own.is_arena && is_open)) {
    end_in_its_lane(*this, slot, how, others);
    return;
  }
  if (!others.empty() || how.is_untold || (how.last != nullptr && own.device->is_for_host())) {
    give_after(*this, slot, how, others);
    return;
  }
  if (how.last != nullptr) {
    stock.move_to_lane(slot, *how.last);
  }
  caches.put(slot, how.bytes, how.cache);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
