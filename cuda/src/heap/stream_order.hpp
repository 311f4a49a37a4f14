// SPDX-License-Identifier: Apache-2.0
//
// stream_order: what streams have freed, how far they are known to have come, and which of them has
// waited for which. Time is one counter of frees: every batch given back gets the next number, its
// stamp, and "up to stamp t" means all that was freed at t or before. An event is recorded on a
// stream only when another one asks, covers all its frees so far, and is remembered, so a hand-over
// costs at most one record and one wait, and none if somebody else paid.
//
// For each stream: done <= recorded <= clock, and done <= freed or nothing is outstanding.
//
// Everything fails closed: what cannot be recorded stays with its own stream. It keeps no memory of
// users. Not thread-safe: device_memory's mutex. No function throws.
#pragma once

#include "driver/driver.hpp"
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// Numbers a stream of one device_memory; also its heap of free memory.
using stream_index = std::uint32_t;
inline constexpr stream_index no_stream = 0;        ///< memory for which nobody has to wait
inline constexpr stream_index legacy_stream = 1;    ///< the legacy default stream
inline constexpr stream_index unknown_stream = 2;   ///< one that could not be told: never recorded
inline constexpr stream_index several_streams = 3;  ///< no stream: memory with a stream_set
inline constexpr stream_index first_user_stream = 4;

/// Streams that have to be waited for, all up to one stamp. More than it has room for means all.
struct stream_set {
  static constexpr unsigned most_streams = 4;

  std::array<stream_index, most_streams> streams{};
  std::uint64_t stamp = 0;
  std::uint8_t count = 0;
  bool is_all = false;

  [[nodiscard]] bool empty() const noexcept { return count == 0 && !is_all; }
  [[nodiscard]] bool has(stream_index s) const noexcept;
  void add(stream_index s, std::uint64_t up_to) noexcept;
  void add(const stream_set& others) noexcept;
};

/// A number of the calling thread that no other thread has or had: ids of threads, and what their
/// default streams are called, are given again after a thread ends.
[[nodiscard]] std::uint64_t this_thread() noexcept;

class stream_order {
 public:
  explicit stream_order(driver& gpu) noexcept : driver_(gpu) {}
  stream_order(const stream_order&) = delete;
  stream_order& operator=(const stream_order&) = delete;
  /// Destroys its events.
  ~stream_order();

  /// Makes the streams that are always there. Errors: out_of_memory.
  [[nodiscard]] status prepare() noexcept;

  /// The stream, a new one if it was not seen before. Post: result < size().
  /// Errors: out_of_memory, driver_error, device_lost.
  [[nodiscard]] result<stream_index> find(const stream_ref& stream) noexcept;
  /// The stream that has this number and handle, or no_stream. Makes no driver call.
  [[nodiscard]] stream_index find_by_number(const stream_ref& stream) const noexcept;
  /// The same as find for frees, which cannot fail: unknown_stream then.
  [[nodiscard]] stream_index find_to_free(const stream_ref& stream) noexcept;
  [[nodiscard]] stream_index size() const noexcept {
    return static_cast<stream_index>(streams_.size());
  }

  /// The driver's number of the stream.
  [[nodiscard]] std::uint64_t id_of(stream_index s) const noexcept { return streams_[s].id; }

  /// Advances the clock: the stamp of what the stream frees now.
  [[nodiscard]] std::uint64_t next_stamp(stream_index s) noexcept;
  /// Call after frees. A thread's own default stream is recorded at once, because no other thread
  /// can record it later; for all other streams, and no_stream, nothing happens.
  void record_early(stream_index s) noexcept;

  /// All work of the stream up to the stamp is known to be complete. Makes no driver call.
  [[nodiscard]] bool is_done(stream_index s, std::uint64_t stamp) const noexcept;
  /// `later` has already waited for the stream up to the stamp. Makes no driver call.
  [[nodiscard]] bool has_waited(stream_index later, stream_index s,
                                std::uint64_t stamp) const noexcept;
  /// The stamp of its latest free.
  [[nodiscard]] std::uint64_t latest_free(stream_index s) const noexcept {
    return streams_[s].freed;
  }
  /// The latest stamp up to which all is done.
  [[nodiscard]] std::uint64_t done_up_to(stream_index s) const noexcept { return streams_[s].done; }

  /// Asks the driver whether the stream has come to the stamp; true if it has. If not, an event is
  /// left in the stream, which a later call asks. Post: done_up_to() is what is known.
  bool catch_up(stream_index s, std::uint64_t stamp) noexcept;
  /// Makes sure that an event covers the stream up to the stamp: records one if none does. False:
  /// an event cannot be recorded now.
  [[nodiscard]] bool cover(stream_index s, std::uint64_t stamp) noexcept;
  /// Makes `later` wait: what is enqueued there from now on runs after all that the stream did up
  /// to the stamp. Pre: `later` does not capture. False: the driver refused, and nothing has
  /// changed.
  [[nodiscard]] bool wait(stream_index later, stream_index s, std::uint64_t stamp) noexcept;

  // The same for sets.
  [[nodiscard]] bool is_done(const stream_set& all) const noexcept;
  [[nodiscard]] bool has_waited(stream_index later, const stream_set& all) const noexcept;
  bool catch_up(const stream_set& all) noexcept;
  [[nodiscard]] bool wait(stream_index later, const stream_set& all) noexcept;

  /// All work enqueued on `earlier` so far runs before what is enqueued on `later` from now on. If
  /// both take part in one capture, that becomes an edge of the graph. Error: stream_captures.
  [[nodiscard]] status order(stream_index earlier, stream_index later) noexcept;
  /// Tells that the stream will not be named again. What it freed is recorded now, while it exists.
  void retire(stream_index s) noexcept;
  /// The stream is retired and all its work is complete.
  [[nodiscard]] bool is_spent(stream_index s) const noexcept;
  [[nodiscard]] bool is_retired(stream_index s) const noexcept { return streams_[s].is_retired; }
  /// The stream was destroyed without retire, and its handle is another stream's. Known once an
  /// event was to be recorded on it; no event is. Its work is known to be complete only when all
  /// work of the device is.
  [[nodiscard]] bool is_recycled(stream_index s) const noexcept { return streams_[s].is_recycled; }
  /// Asks the driver. Pre: the stream does not capture.
  [[nodiscard]] bool find_recycled(stream_index s) noexcept;
  [[nodiscard]] bool is_outstanding(stream_index s) const noexcept {
    return streams_[s].done < streams_[s].freed;
  }
  /// Frees the number of a spent stream for another one. Pre: no memory carries the number.
  void forget(stream_index s) noexcept;

  /// Whether the stream captures, and so whether it may be made to wait. Asked once per request.
  [[nodiscard]] result<capture_state> state_of(stream_index s) noexcept;

  /// What the host may wait for without the mutex. After the wait, came_to notes the progress.
  struct host_wait {
    cudaEvent_t event = nullptr;  ///< null: nothing outstanding, or no event can be recorded
    std::uint64_t recorded = 0;
    bool needs_device = false;  ///< only waiting for the whole device helps
  };
  [[nodiscard]] host_wait prepare_host_wait(stream_index s) noexcept;
  void came_to(stream_index s, std::uint64_t recorded) noexcept;
  [[nodiscard]] std::uint64_t clock() const noexcept { return clock_; }

  /// Null, or the first broken invariant.
  [[nodiscard]] const char* check() const noexcept;

 private:
  struct known_wait {
    stream_index stream = no_stream;
    std::uint64_t stamp = 0;
  };
  struct stream_state {
    cudaStream_t handle = nullptr;
    stream_kind kind = stream_kind::none;
    bool is_in_use = false;
    bool is_retired = false;
    bool is_gone = false;  // the driver's answers say that it was destroyed without retire
    bool is_recycled = false;
    std::uint8_t next_wait = 0;
    std::uint32_t number = 0;  // of stream_ref, 0: none
    std::uint64_t id = 0;
    std::uint64_t owner = 0;      // thread of a per-thread default stream, see this_thread
    std::uint64_t freed = 0;      // the latest free
    std::uint64_t recorded = 0;   // `event` covers it up to here
    std::uint64_t done = 0;       // known to be complete up to here
    cudaEvent_t event = nullptr;  // made with the first record, kept
    // The latest waits, as a memo: a wait that fell out of it is made again.
    std::array<known_wait, 8> waits{};
  };

  [[nodiscard]] result<stream_index> find_captured(const stream_ref& stream) const noexcept;
  [[nodiscard]] status order_in_capture(cudaStream_t earlier, cudaStream_t later) noexcept;
  [[nodiscard]] result<stream_index> add(const stream_ref& stream, std::uint64_t id) noexcept;
  [[nodiscard]] bool note_number(const stream_ref& stream, stream_index s) noexcept;
  [[nodiscard]] cudaStream_t usable_handle(stream_index s) noexcept;
  [[nodiscard]] bool record(stream_index s, cudaStream_t handle) noexcept;
  void forget_event(stream_state& state) noexcept;
  void ask_event(stream_index s) noexcept;
  [[nodiscard]] bool is_named_here(const stream_state& state) const noexcept;
  void remember(stream_index later, stream_index s) noexcept;
  [[nodiscard]] std::uint64_t needed(stream_index s, std::uint64_t stamp) const noexcept;
  template <class F>
  [[nodiscard]] bool all_of(const stream_set& all, F test) const noexcept;

  driver& driver_;
  std::uint64_t clock_ = 0;
  std::vector<stream_state> streams_;
  std::vector<stream_index> by_number_;
  std::unordered_map<std::uint64_t, stream_index> by_id_;  // ordinary and per-thread streams
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
