// SPDX-License-Identifier: Apache-2.0
//
// Lanes of streams. On a stream-ordered device each stream is a lane of its own, within which
// blocks are reused without waiting; the default stream's is the device's lane. Devices that are
// not stream-ordered have that one only, and streams mean nothing to them.
//
// A lane is found by the stream's number, by the thread's memo, or by the number that the backend
// knows it by, which no other stream ever has. A lane that is retired serves another stream of its
// device later; until then it has no stream, no blocks and no tensors.
#include "pool/pool_core.hpp"
#include "pool/recall.hpp"
#include "pool/thread_caches.hpp"

#include <exception>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Nothing where there is none, or the gate is closed.
[[nodiscard]] lane_memo read_memo(front_cache* cache) noexcept {
  lane_memo memo;
  if (cache != nullptr) {
    if (cache->enter()) {
      memo = cache->memo;
    }
    cache->leave();
  }
  return memo;
}

}  // namespace

result<lane*> pool_core::open_lane(device_entry& device, const stream_ref& stream,
                                   std::uint64_t stream_id) noexcept {
  const std::uint64_t thread = stream.kind == stream_kind::per_thread ? this_thread_number() : 0;
  for (;;) {
    const lanes::opened found =
        lanes.open(device, {.stream = stream, .id = stream_id, .thread = thread});
    if (found.where != nullptr) {
      return found.where;
    }
    if (found.recycled == nullptr) {
      return found.why;
    }
    // The handle was given to a new stream, and the old one was not retired before.
    (void)report_misuse(misuse_kind::unretired_stream, {});
    retire_lane(*found.recycled, found.recycled->stream());
  }
}

// The lane in which a tensor that is asked for on the stream stands.
result<lane*> pool_core::home_for(device_entry& device, const stream_ref& stream) noexcept {
  return device.is_for_host() ? result<lane*>(&lanes.of_device(device)) : lane_for(device, stream);
}

result<lane*> pool_core::lane_for(device_entry& device, const stream_ref& stream) noexcept {
  if (!device.description.stream_ordered || stream.is_default()) {
    return &lanes.of_device(device);
  }
  const bool per_thread = stream.kind == stream_kind::per_thread;
  front_cache* const cache = attach_this_thread(*this);
  if (!per_thread && stream.number != 0 && stream.number < lanes.count()) {
    lane& known = lanes.at(stream.number);
    if (known.is(device, stream)) {
      return &known;
    }
  }
  // The memo is this thread's; a lane that it names may have another stream by now.
  if (const lane_memo memo = read_memo(cache); memo.handle == stream.handle) {
    lane& known = lanes.at(memo.lane);
    if (known.is(device, stream) &&
        (!per_thread || known.thread.load(std::memory_order_acquire) == cache->thread)) {
      return &known;
    }
  }
  const result<std::uint64_t> id = device.source->stream_id(device.where, stream);
  if (!id) {
    return id.error();
  }
  result<lane*> found = open_lane(device, stream, *id);
  if (found && cache != nullptr && (*found)->number < options_.max_cached_lanes) {
    if (cache->enter()) {
      cache->memo = {.handle = stream.handle,
                     .expected = per_thread ? static_cast<const void*>(*found) : stream.handle,
                     .lane = (*found)->number};
    }
    cache->leave();
  }
  return found;
}

result<stream_ref> pool_core::attach(device where, stream_ref stream) noexcept {
  const operation guard(*this);
  device_entry* const entry = lanes.find(where);
  if (entry == nullptr) {
    return status{.code = errc::unknown_device, .where = where};
  }
  const result<lane*> found = lane_for(*entry, stream);
  if (!found) {
    return found.error();
  }
  // A number would name the lane of this thread in all threads.
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

// Must not block: the end of a thread calls this with the process mutex held, which fork needs.
void pool_core::retire_lanes_of(std::uint64_t thread) noexcept {
  const operation guard(*this, may_wait::no);
  lanes.for_each_of_thread(thread, [&](lane& known) { retire_lane(known, known.stream()); });
}

// Gives the lane's free blocks back in the order of `last`. Tensors that are alive keep the lane,
// and when they end, their blocks go to the device's own (end_block). Pre: no other thread works in
// the lane meanwhile.
void pool_core::retire_lane(lane& gone, const stream_ref& last) noexcept {
  device_entry& device = *gone.device;
  if (!lanes.begin_retire(gone, last)) {
    return;
  }
  {
    const std::lock_guard lock(registry_mutex_);
    std::uint64_t alive = 0;
    with_closed_gates([&](front_cache& cache) {
      drain(gone, cache);
      if (gone.number < cache.lanes) {
        cache.lane(gone.number).for_each_used([&](unsigned, const magazine& m) {
          alive += m.pops() - m.pushes();
        });
      }
      if (cache.memo.lane == gone.number) {
        cache.memo = {};
      }
    });
    const std::lock_guard counts_lock(gone.mutex);
    for (const class_counts& of_class : gone.counts) {
      alive += of_class.pops - of_class.pushes;
    }
    gone.left.store(static_cast<std::int64_t>(alive), std::memory_order_release);
  }
  // Tensors of other lanes that were used here: their own streams wait for it.
  directory.uses_elsewhere.forget(gone.number, [&](std::uint32_t slot) {
    order(gone, lanes.of(directory.slots.by_index(slot)));
  });
  (void)drain_ready(gone, true);
  if (!gone.is_arena) {
    device.source->retire(device.where, gone.stream());
  }
  lanes.end_retire(gone);
}

// The slot's block, and the tensor that ends there, are this lane's from now on; the device's sums
// stay. Pre: it is free and in no list, and its end is not counted yet.
void pool_core::move_to_lane(record& slot, lane& to) noexcept {
  const unsigned size_class = slot.size_class.load(std::memory_order_relaxed);
  const std::uint64_t bytes = slot.bytes.load(std::memory_order_relaxed);
  const auto count = [&](lane& where, std::uint64_t one, std::uint64_t requested) {
    const std::lock_guard lock(where.mutex);
    class_counts& sum = where.counts_of(size_class);
    sum.pops += one;
    sum.ready_hits += one;
    sum.requested += requested;
  };
  count(lanes.of(slot), std::uint64_t{0} - 1, std::uint64_t{0} - bytes);
  count(to, 1, bytes);
  slot.lane.store(to.number, std::memory_order_release);
  slot.magazine.store(lanes.is_cached(to) ? front_cache::offset_of(to.number, size_class)
                                          : front_cache::offset_of_none(),
                      std::memory_order_release);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
