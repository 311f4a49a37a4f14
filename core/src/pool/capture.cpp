// SPDX-License-Identifier: Apache-2.0
//
// Arenas for graphs. An arena is a lane whose blocks stay until the arena ends. While a scope is
// open, the lane of its stream points to the arena and has its key closed. So every allocation on
// the stream takes the slow path, which serves it from the arena's lane. A capture must not wait
// for work outside of it, so the backend gives an arena only blocks that no stream still uses
// (block_request::for_capture).
#include "pool/ended_blocks.hpp"
#include "pool/pool_core.hpp"
#include "pool/this_thread.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

result<lane*> pool_core::open_arena(device where) noexcept {
  const operation guard(*this);
  device_entry* const entry = lanes.find(where);
  if (entry == nullptr) {
    return status{.code = errc::unknown_device, .where = where};
  }
  if (!entry->description.stream_ordered || entry->is_for_host()) {
    return status{.code = errc::unsupported,
                  .where = where,
                  .text = "arenas are for device memory whose frees are ordered by streams"};
  }
  lane* const made = lanes.open_arena(*entry);
  if (made == nullptr) {
    return status{.code = errc::too_many,
                  .where = where,
                  .text = "4096 streams and arenas are there, or no memory for one more"};
  }
  return made;
}

// Gives the arena's blocks back in the order of the stream. Pre: the arena is open.
void pool_core::close_arena(lane& arena, const stream_ref& last) noexcept {
  const operation guard(*this);
  // Blocks go back in the order of the stream, or of the default stream if it has no lane.
  const result<lane*> order = lane_for(*arena.device, last, attach_this_thread(caches));
  lane& after = order ? **order : lanes.of_device(*arena.device);
  give_held_back(*this, arena, after);
  retire_lane(arena, after.stream());
}

result<lane*> pool_core::begin_capture(lane& arena, const stream_ref& stream) noexcept {
  const operation guard(*this);
  const result<lane*> found = lane_for(*arena.device, stream, attach_this_thread(caches));
  if (!found) {
    return found.error();
  }
  lane& captured = **found;
  if (const status why = lanes.begin_capture(captured, arena); !why.ok()) {
    return why;
  }
  captured.device->source->set_capture_scope(captured.device->where, captured.stream(), true);
  caches.pass_all_gates();  // afterwards no thread uses the closed key
  settle_held(*this, arena, captured);
  return &captured;
}

void pool_core::end_capture(lane& stream) noexcept {
  const operation guard(*this);
  stream.device->source->set_capture_scope(stream.device->where, stream.stream(), false);
  lanes.end_capture(stream);
}

// Returns the free bytes in the arena's ready lists. Blocks that threads keep are not included.
std::size_t pool_core::free_bytes_in(const lane& arena) noexcept {
  std::size_t bytes = 0;
  for (const ready_list& list : arena.ready) {
    bytes += list.bytes();
  }
  return bytes;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
