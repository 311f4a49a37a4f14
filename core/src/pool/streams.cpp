// SPDX-License-Identifier: Apache-2.0
//
// Lanes of streams. On a stream-ordered device each stream has a lane of its own, within which
// blocks are reused without waiting. The default stream has the device's lane. Other devices have
// only that lane and ignore streams.
//
// A lane is found by the stream's number, by the thread's memo, or by the backend's number of the
// stream, which no other stream ever has. A retired lane has no stream and no blocks. Once its last
// tensor has ended, it may serve another stream of its device.
#include "pool/capture_check.hpp"
#include "pool/pool_core.hpp"
#include "pool/this_thread.hpp"
#include <tidepool/support/thread_end.hpp>

#include <optional>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Finds or opens the lane of the stream that the backend knows by this number.
[[nodiscard]] result<lane*> open_lane(pool_core& core, device_entry& device,
                                      const stream_ref& stream, std::uint64_t stream_id) noexcept {
  const std::uint64_t thread = stream.kind == stream_kind::per_thread ? this_thread_number() : 0;
  for (;;) {
    const lanes::opened found =
        core.lanes.open(device, {.stream = stream, .id = stream_id, .thread = thread});
    if (found.recycled != nullptr) {
      core.retire_recycled(*found.recycled);
      continue;
    }
    if (found.is_new) {
      // The backend has to know the stream before the handle can come again.
      const auto named = device.source->stream_id(device.where, found.where->stream());
      if (!named) {
        core.retire_lane(*found.where, found.where->stream());
        return named.error();
      }
    }
    return found.where == nullptr ? result<lane*>(found.why) : found.where;
  }
}

}  // namespace

// The driver gave the lane's handle to a new stream, and the old one was not retired.
void pool_core::retire_recycled(lane& gone) noexcept {
  (void)report_misuse(misuse_kind::unretired_stream, {});
  retire_lane(gone, gone.stream());
}

// Returns the stream's lane; the first use of a stream opens it.
result<lane*> pool_core::lane_for(device_entry& device, const stream_ref& stream,
                                  front_cache* cache) noexcept {
  if (!device.description.stream_ordered || stream.is_default()) {
    return &lanes.of_device(device);
  }
  const bool per_thread = stream.kind == stream_kind::per_thread;
  if (!per_thread && stream.number != 0 && stream.number < lanes.count()) {
    lane& known = lanes.at(stream.number);
    if (known.is(device, stream) && !is_seen_recycled(known, stream)) {
      return &known;
    }
  }
  // The memo belongs to this thread. The lane that it names may serve another stream by now.
  if (const lane_memo memo = caches.memo_of(cache); memo.handle == stream.handle) {
    lane& known = lanes.at(memo.lane);
    if (known.is(device, stream) &&
        (!per_thread || known.thread.load(std::memory_order_acquire) == cache->thread) &&
        !is_seen_recycled(known, stream)) {
      return &known;
    }
  }
  // Without its number, which may be wrong.
  const result<std::uint64_t> id =
      device.source->stream_id(device.where, {.handle = stream.handle, .kind = stream.kind});
  if (!id) {
    // The handle has to tell the stream while it captures, and its id must not be asked.
    lane* const known = id.error().code == errc::stream_captures
                            ? lanes.find_open(device, stream, this_thread_number())
                            : nullptr;
    return known == nullptr ? result<lane*>(id.error()) : known;
  }
  const result<lane*> found = open_lane(*this, device, stream, *id);
  if (found && lanes.is_cached(**found)) {
    caches.set_memo(cache,
                    {.handle = stream.handle,
                     .expected = per_thread ? static_cast<const void*>(*found) : stream.handle,
                     .lane = (*found)->number});
  }
  return found;
}

result<stream_ref> pool_core::attach(device where, stream_ref stream) noexcept {
  const operation guard(*this);
  device_entry* const entry = lanes.find(where);
  if (entry == nullptr) {
    return status{.code = errc::unknown_device, .where = where};
  }
  const result<lane*> found = lane_for(*entry, stream, attach_this_thread(caches));
  if (!found) {
    return found.error();
  }
  // A per-thread stream gets no number: other threads would use it for this thread's lane.
  stream.number = stream.kind == stream_kind::per_thread ? 0 : (*found)->stream().number;
  return stream;
}

errc pool_core::retire(device where, const stream_ref& stream) noexcept {
  const operation guard(*this);
  device_entry* const entry = lanes.find(where);
  if (entry == nullptr) {
    return errc::unknown_device;
  }
  if (!entry->description.stream_ordered || stream.is_default()) {
    return errc::ok;
  }
  if (lane* const known = lanes.find_open(*entry, stream, this_thread_number())) {
    retire_lane(*known, known->stream());
    return errc::ok;
  }
  return errc::not_found;
}

// Gives the lane's free blocks back in the order of `last`. Live tensors keep the lane; when they
// end, their blocks go to the device's own lane (end_block). Pre: no other thread works in the lane
// meanwhile.
void pool_core::retire_lane(lane& gone, const stream_ref& last) noexcept {
  device_entry& device = *gone.device;
  const stream_ref stream = gone.stream();
  if (!lanes.begin_retire(gone, last)) {
    return;
  }
  gone.left.store(static_cast<std::int64_t>(caches.retire_lane(gone)), std::memory_order_release);
  // Tensors of other lanes were used here, so their own streams wait for this one.
  const bool must_be_silent = support::this_thread_ends();
  directory.uses_elsewhere.forget(gone.number, [&](std::uint32_t slot) {
    if (must_be_silent) {
      return std::optional(lanes.of_device(device).number);
    }
    const lane& user = lanes.of(directory.slots.by_index(slot));
    const bool is_ordered = (!user.is_arena && order(gone, user)) ||
                            device.source->synchronise(device.where, gone.stream()).ok();
    return is_ordered ? std::nullopt : std::optional(stream_uses::untold);
  });
  (void)stock.drain_ready(gone, true);
  if (!gone.is_arena) {
    device.source->retire(device.where, stream);
  }
  lanes.end_retire(gone);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
