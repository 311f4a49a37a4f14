// SPDX-License-Identifier: Apache-2.0
//
// Lanes and devices of a pool. Within a lane, blocks are reused without waiting. A lane is a
// device, a stream of a device, or a graph_arena. Lanes have numbers in the order of their first
// use; lane 0 is the pool's first device. If a lane's stream is retired, the lane may serve another
// stream later.
#pragma once

#include "cache/budget.hpp"
#include "cache/class_counts.hpp"
#include "cache/front_cache.hpp"
#include "cache/ready_list.hpp"
#include "system/peak.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/size_class.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

inline constexpr std::size_t most_devices = 255;
inline constexpr std::size_t most_lanes = 4096;
static_assert(most_lanes == most_cached_lanes + most_chunks * lanes_in_chunk);
inline constexpr std::size_t highest_alignment = std::size_t{1} << 30;

struct lane;

/// A device of the pool: its backend, its limits and the bytes counted against them.
struct device_entry {
  device where = {};
  backend* source = nullptr;
  device_description description = {};
  std::size_t alignment = cache_line;             // of every allocation
  std::uint8_t number = 0;                        // among the pool's devices
  std::unique_ptr<lane> prepared;                 // its lane, until something uses the device
  std::atomic<lane*> own{nullptr};                // and from then on
  budget reserved;                                // claimed == bytes that the backend has backed
  std::atomic<std::size_t> ready_bytes{0};        // in ready lists
  std::atomic<std::size_t> quarantined_bytes{0};  // freed, kept back by a debug mode
  std::atomic<std::size_t> arena_bytes{0};        // free, but only graph arenas may use them
  std::atomic<std::uint64_t> live_bytes{0};       // requested, as published by threads
  std::atomic<std::uint64_t> peak_live{0};

  /// Does host code touch the memory at once, outside of every stream's order? Then no stream uses
  /// a free block; blocks that streams have used stay in the backend until the streams are done.
  [[nodiscard]] bool is_for_host() const noexcept {
    return description.stream_ordered && description.host_accessible && where.is_host();
  }
  /// Bytes of blocks that are free, but neither in a thread's cache nor given back to the backend.
  [[nodiscard]] std::size_t kept_bytes() const noexcept {
    return ready_bytes.load(std::memory_order_relaxed) +
           quarantined_bytes.load(std::memory_order_relaxed);
  }

  void publish_live(std::uint64_t change) noexcept {
    raise_peak(peak_live, live_bytes.fetch_add(change, std::memory_order_relaxed) + change);
  }
};

/// The key of a lane: {stream handle, device}. The warm path compares both before it takes a block
/// from the lane. They are written under the mutex of lanes. A closed key keeps the warm path out:
/// it has a device that does not exist, and its own address, which is no stream, as handle.
struct alignas(32) lane_key {
  std::atomic<const void*> handle{this};
  std::atomic<std::uint32_t> device{closed_device};
  std::atomic<std::uint32_t> alignment_mask{0};  // alignment - 1
  // Of unnamed temporaries. It is 0 for a device. For streams it follows from the lane's number; it
  // is written when the first one opens the key, before anybody can know that number.
  std::uint64_t tag = 0;
  std::size_t magazines = 0;  // front_cache::origin_of(lane); written before the pool is used

  static constexpr std::uint32_t closed_device = 0xffffffffU;
};

/// The keys of the lanes that the warm path serves, by number.
struct lane_keys {
  std::array<lane_key, most_cached_lanes> at;

  /// Returns the lane of a device and its default stream, or most_cached_lanes if the warm path
  /// must not use it.
  [[nodiscard]] std::uint32_t lane_of(std::uint32_t device_bits) const noexcept {
    // Only the key of a device's lane has no handle, unless it is closed.
    std::uint32_t n = 0;
    while (n < at.size() && (at[n].device.load(std::memory_order_relaxed) != device_bits ||
                             at[n].handle.load(std::memory_order_relaxed) != nullptr)) {
      ++n;
    }
    return n;
  }
};

enum class lane_state : std::uint8_t {
  open,      // of a device, a stream or an arena
  retiring,  // its blocks are on their way back
  retired,   // has neither stream nor free blocks; without live tensors it is used again
};

struct lane {
  lane(device_entry& owner, std::size_t n) noexcept
      : device(&owner), number(static_cast<std::uint16_t>(n)) {}

  device_entry* const device;
  std::uint16_t number;                     // constant once the pool knows the lane
  std::atomic<bool> is_arena{false};        // its blocks stay until the arena ends
  std::atomic<std::uint64_t> stream_id{0};  // the backend's number of the stream
  std::atomic<lane_state> state{lane_state::open};
  std::atomic<std::uint64_t> thread{0};     // owner of a per-thread default stream, else 0
  std::atomic<lane*> captured_by{nullptr};  // the arena that serves the stream while it captures
  std::atomic<std::int64_t> left{0};        // of a retired lane: its tensors that are still alive
  std::array<ready_list, size_class_count> ready;

  std::mutex mutex;
  // Of an arena: blocks that may not be used again before they are ordered after the streams that
  // stream_uses has for them. Guarded by mutex; linked through record::next.
  record* held = nullptr;
  bool keeps_held = false;  // some stream could not be noted: they stay until the arena ends
  // Operations that no live front cache counts: those of threads without a cache, and of caches
  // that are gone.
  std::array<class_counts, size_class_count> counts;  // guarded by mutex

  /// The stream in whose order blocks come and go; the lane of an arena or a device has none.
  [[nodiscard]] stream_ref stream() const noexcept {
    void* const handle = handle_.load(std::memory_order_acquire);
    const auto kind = kind_.load(std::memory_order_acquire);
    return kind == stream_kind::none
               ? stream_ref{}
               : stream_ref{handle, kind, stream_number_.load(std::memory_order_acquire)};
  }
  void set_stream(const stream_ref& to) noexcept {
    handle_.store(to.handle, std::memory_order_release);
    stream_number_.store(to.number, std::memory_order_release);
    kind_.store(to.kind, std::memory_order_release);
  }
  /// The stream number in the records of the lane's tensors; 0 for the device's own lane.
  [[nodiscard]] std::uint32_t tag_number() const noexcept { return stream().number; }

  [[nodiscard]] ready_list& ready_of(unsigned size_class) noexcept {
    return ready[size_class - first_size_class];
  }
  /// The count to which the bytes of its ready lists belong.
  [[nodiscard]] std::atomic<std::size_t>& ready_bytes() noexcept {
    return is_arena ? device->arena_bytes : device->ready_bytes;
  }
  /// Pre: mutex is held.
  [[nodiscard]] class_counts& counts_of(unsigned size_class) noexcept {
    return counts[size_class - first_size_class];
  }
  /// Does the open lane serve this stream? All per-thread default streams look alike here.
  [[nodiscard]] bool is(const device_entry& owner, const stream_ref& queue) const noexcept {
    const stream_ref own = stream();
    return device == &owner && own.handle == queue.handle && own.kind == queue.kind &&
           state.load(std::memory_order_acquire) == lane_state::open;
  }

 private:
  std::atomic<void*> handle_{nullptr};
  std::atomic<std::uint32_t> stream_number_{0};
  std::atomic<stream_kind> kind_{stream_kind::none};
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
