// SPDX-License-Identifier: Apache-2.0
//
// lanes: the backends and devices of a pool, and the lanes within which blocks are reused. It
// makes, finds, opens and retires lanes, keeps their keys for the warm path, and holds the claims
// of backends against the limits. Other parts use a lane's contents (ready lists, counts).
//
// Thread safety: every member from any thread, unless its comment says otherwise. mutex_ guards all
// keys and which stream or arena a lane serves. No lane is destroyed before the pool, so finding a
// lane by its number needs no lock.
#pragma once

#include "cache/lane.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/limits.hpp>
#include <tidepool/result.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

class lanes final : public backend_host {
 public:
  explicit lanes(std::size_t most_cached) noexcept : most_cached_(most_cached) {}
  ~lanes();
  lanes(const lanes&) = delete;
  lanes& operator=(const lanes&) = delete;

  lane_keys keys;   // of lanes that threads cache for
  budget reserved;  // of all devices; claimed == sum of theirs

  /// The settings that each device begins with.
  struct device_settings {
    memory_limits limits;
    std::size_t minimum_alignment = 0;
  };
  /// Takes the backends over. Errors: invalid_argument, too_many. Throws std::bad_alloc. Called
  /// once, before all others.
  [[nodiscard]] status add(std::vector<std::unique_ptr<backend>> backends,
                           const device_settings& settings);
  /// Gives itself to the backends as their host; they may claim memory from now on.
  void attach_backends() noexcept;

  // Devices.
  [[nodiscard]] device_entry* find(device where) const noexcept;
  [[nodiscard]] std::span<const std::unique_ptr<device_entry>> devices() const noexcept {
    return devices_;
  }
  [[nodiscard]] std::span<const device_description> descriptions() const noexcept {
    return descriptions_;
  }
  [[nodiscard]] std::span<const std::unique_ptr<backend>> backends() const noexcept {
    return backends_;
  }
  [[nodiscard]] bool claim(device where, std::size_t bytes) noexcept override;
  void unclaim(device where, std::size_t bytes) noexcept override;

  /// Numbers are 0..count() - 1. Grows only.
  [[nodiscard]] std::size_t count() const noexcept {
    return count_.load(std::memory_order_acquire);
  }
  [[nodiscard]] lane& at(std::size_t number) const noexcept {
    return *lanes_[number].load(std::memory_order_acquire);
  }
  /// The lane of the device's default stream, which also serves calls that name no stream. The
  /// first call gives it a number, so that devices nobody uses take none of the first ones.
  [[nodiscard]] lane& of_device(device_entry& device) noexcept {
    lane* const used = device.own.load(std::memory_order_acquire);
    return used != nullptr ? *used : begin_use(device);
  }
  /// The lane of the slot's tensor or block.
  [[nodiscard]] lane& of(const record& slot) const noexcept {
    return at(slot.lane.load(std::memory_order_acquire));
  }
  /// Do threads keep blocks of the lane?
  [[nodiscard]] bool is_cached(const lane& n) const noexcept { return n.number < most_cached_; }
  /// Calls f(lane) for lanes 0..up_to - 1, as far as they exist.
  template <class F>
  void for_each(F&& f, std::size_t up_to = SIZE_MAX) const {
    for (std::size_t i = 0; i < up_to && i < count(); ++i) {
      f(at(i));
    }
  }

  /// A stream as its backend knows it.
  struct stream_identity {
    stream_ref stream;
    std::uint64_t id = 0;      // no other stream ever has it
    std::uint64_t thread = 0;  // the thread whose per-thread default stream it is, else 0
  };
  struct opened {
    lane* where = nullptr;  // null: see the other members
    bool is_new = false;
    lane* recycled = nullptr;  // open for an older stream with this handle, never retired
    status why = {};
  };
  /// Returns the stream's lane, and opens one if it has none.
  [[nodiscard]] opened open(device_entry& device, const stream_identity& identity) noexcept;
  /// The open lane of a stream other than a default one. thread: owner of a per-thread stream.
  [[nodiscard]] lane* find_open(const device_entry& device, const stream_ref& stream,
                                std::uint64_t thread) const noexcept;
  /// Calls f(lane) for each lane of a per-thread default stream of this thread.
  template <class F>
  void for_each_of_thread(std::uint64_t thread, F&& f) const {
    for (std::size_t i = 0; i < count(); ++i) {
      lane& known = at(i);
      if (known.stream().kind == stream_kind::per_thread &&
          known.thread.load(std::memory_order_acquire) == thread) {
        f(known);
      }
    }
  }
  /// Closes the lane for new work; its blocks are now free in the order of `last`. False: it was
  /// not open. Threads inside their caches may still use its key, so close all gates next.
  [[nodiscard]] bool begin_retire(lane& gone, const stream_ref& last) noexcept;
  /// The lane may serve another stream of its device once its last tensor has ended.
  void end_retire(lane& gone) noexcept;

  /// An arena's lane. Null: there are most_lanes, or no memory.
  [[nodiscard]] lane* open_arena(device_entry& device) noexcept;
  /// The arena serves the stream from now on. Error: invalid_argument (one of them captures
  /// already). This closes the stream's key, so close all gates next, as for begin_retire.
  [[nodiscard]] status begin_capture(lane& stream, lane& arena) noexcept;
  void end_capture(lane& stream) noexcept;
  /// The lane whose stream the arena serves; null: none now.
  [[nodiscard]] lane* captured_with(const lane& arena) const noexcept;

 private:
  [[nodiscard]] status add_device(backend& source, const device_description& description,
                                  const device_settings& settings);
  [[nodiscard]] lane& begin_use(device_entry& device) noexcept;
  // Pre: mutex_ is held.
  [[nodiscard]] bool is_full() const noexcept { return count() + unused_devices_ >= most_lanes; }
  void append(std::unique_ptr<lane> made) noexcept;
  [[nodiscard]] lane* make(device_entry& device) noexcept;
  void open_key(lane& target) noexcept;
  void close_key(const lane& target) noexcept;

  const std::size_t most_cached_;
  std::vector<std::unique_ptr<backend>> backends_;
  std::vector<std::unique_ptr<device_entry>> devices_;  // in the order of the backends, few
  std::vector<device_description> descriptions_;
  std::mutex mutex_;
  std::array<std::atomic<lane*>, most_lanes> lanes_{};  // appended under mutex_
  std::atomic<std::size_t> count_{0};
  std::size_t unused_devices_ = 0;  // their lanes will need numbers; guarded by mutex_
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
