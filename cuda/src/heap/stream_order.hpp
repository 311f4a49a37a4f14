// SPDX-License-Identifier: Apache-2.0
//
// stream_order: what streams have freed, how far they are known to have come, and which of them has
// waited for which. Time is one counter of frees: every batch given back gets the next number, its
// stamp, and "up to stamp t" means all that was freed at t or before. An event is recorded on a
// stream when another one asks, covers all its frees so far, and is remembered, so a hand-over
// costs at most one record and one wait, and none if somebody else paid. Where several streams free
// memory, events are recorded early too, so that a hand-over does not wait for much later work.
//
// For each stream: done <= recorded <= clock, and done <= freed or nothing is outstanding.
//
// Everything fails closed: what cannot be recorded stays with its own stream. It keeps no memory of
// users. Not thread-safe: device_memory's mutex guards it. A function that takes the lock gives the
// mutex up while it calls the driver, because a driver may block a call until the GPU has done
// other work, and that work may need a thread that frees memory. Whatever the caller knew before
// may have changed afterwards. No function throws.
#pragma once

#include "driver/driver.hpp"
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
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
  [[nodiscard]] bool operator==(const stream_set&) const noexcept = default;
};

/// A number of the calling thread that no other thread has or had: ids of threads, and what their
/// default streams are called, are given again after a thread ends.
[[nodiscard]] std::uint64_t this_thread() noexcept;

class stream_order {
 public:
  using lock_type = std::unique_lock<std::mutex>;

  explicit stream_order(driver& gpu) noexcept : driver_(gpu) {}
  stream_order(const stream_order&) = delete;
  stream_order& operator=(const stream_order&) = delete;
  /// Destroys its events.
  ~stream_order();

  /// Makes the streams that are always there. Errors: out_of_memory.
  [[nodiscard]] status prepare() noexcept;

  // Names.
  /// The legacy stream, or the one that has this number and handle; else no_stream.
  [[nodiscard]] stream_index find_known(const stream_ref& stream) const noexcept;
  /// Asks the driver for the stream's number. Errors: stream_captures, if it must not be asked;
  /// invalid_argument, driver_error, device_lost.
  [[nodiscard]] result<std::uint64_t> ask_id(const stream_ref& stream, lock_type& lock) noexcept;
  /// The stream with this number of the driver, a new one if it was not seen before. Post: result
  /// < size(). Errors: out_of_memory.
  [[nodiscard]] result<stream_index> find_or_add(const stream_ref& stream,
                                                 std::uint64_t id) noexcept;
  /// A stream that must not be asked, by its handle. Errors: stream_captures, if it was not seen
  /// before.
  [[nodiscard]] result<stream_index> find_by_handle(const stream_ref& stream) const noexcept;
  [[nodiscard]] stream_index size() const noexcept {
    return static_cast<stream_index>(streams_.size());
  }
  /// The driver's number of the stream.
  [[nodiscard]] std::uint64_t id_of(stream_index s) const noexcept { return streams_[s].id; }
  /// Tells that the stream will not be named again. What it freed is recorded now, while it exists,
  /// unless it is a thread's own default stream: then this makes no driver call.
  void retire(stream_index s, lock_type& lock) noexcept;
  /// The stream is retired and all its work is complete.
  [[nodiscard]] bool is_spent(stream_index s) const noexcept;
  [[nodiscard]] bool is_retired(stream_index s) const noexcept { return streams_[s].is_retired; }
  /// The stream was destroyed without retire, and its handle is another stream's. Known once an
  /// event was to be recorded on it; no event is. Its work is known to be complete only when all
  /// work of the device is.
  [[nodiscard]] bool is_recycled(stream_index s) const noexcept { return streams_[s].is_recycled; }
  /// Asks the driver. Pre: the stream does not capture.
  [[nodiscard]] bool find_recycled(stream_index s, lock_type& lock) noexcept;
  /// Frees the number of a spent stream for another one. Pre: no memory carries the number.
  void forget(stream_index s) noexcept;

  // Captures.
  /// Whether the stream captures, and so whether it may be made to wait. Asked once per request.
  [[nodiscard]] result<capture_state> state_of(stream_index s, lock_type& lock) noexcept;
  /// A capture_scope is open for the stream, or no more. Meanwhile the stream may begin to capture
  /// at any time, so it is asked nothing for other streams, and no event is recorded on it.
  void set_in_scope(const stream_ref& stream, bool is_in_scope) noexcept;

  // Time.
  /// Advances the clock: the stamp of what the stream frees now.
  [[nodiscard]] std::uint64_t next_stamp(stream_index s) noexcept;
  /// So much of the latest stamp was freed.
  void note_freed(stream_index s, std::size_t blocks, std::size_t bytes) noexcept;
  /// The calling thread enqueues work on the stream, so it may record events there.
  void note_user(stream_index s) noexcept { streams_[s].user = this_thread(); }
  /// Records an event if one is due: on a thread's own default stream after every free, because no
  /// other thread can record it later; on another stream after most_frees_unrecorded frees or
  /// most_bytes_unrecorded bytes, if several streams free memory. Only the stream's user does, for
  /// a thread that only frees may be a callback of the GPU, which must not call the driver.
  void record_early(stream_index s, lock_type& lock) noexcept;
  static constexpr std::size_t most_frees_unrecorded = 32;
  static constexpr std::size_t most_bytes_unrecorded = std::size_t{32} << 20;
  /// The stamp of its latest free.
  [[nodiscard]] std::uint64_t latest_free(stream_index s) const noexcept {
    return streams_[s].freed;
  }
  /// The latest stamp up to which all is done.
  [[nodiscard]] std::uint64_t done_up_to(stream_index s) const noexcept { return streams_[s].done; }
  [[nodiscard]] bool is_outstanding(stream_index s) const noexcept {
    return streams_[s].done < streams_[s].freed;
  }

  // What is known, for one stream or a set.
  /// All work of the stream up to the stamp is known to be complete.
  [[nodiscard]] bool is_done(stream_index s, std::uint64_t stamp) const noexcept;
  [[nodiscard]] bool is_done(const stream_set& all) const noexcept;
  /// `later` has already waited for the stream up to the stamp.
  [[nodiscard]] bool has_waited(stream_index later, stream_index s,
                                std::uint64_t stamp) const noexcept;
  [[nodiscard]] bool has_waited(stream_index later, const stream_set& all) const noexcept;

  // What the driver answers. The stream's memory may be taken and freed by others meanwhile.
  /// Asks whether the stream has come to the stamp; true if it has. If not, an event is left in the
  /// stream, which a later call asks. Post: done_up_to() is what is known. False also while another
  /// thread asks about this stream.
  bool catch_up(stream_index s, std::uint64_t stamp, lock_type& lock) noexcept;
  bool catch_up(const stream_set& all, lock_type& lock) noexcept;
  /// Makes `later` wait: what is enqueued there from now on runs after all that the stream did up
  /// to the stamp. Pre: `later` did not capture when it was asked last. False: the driver refused,
  /// and nothing has changed.
  [[nodiscard]] bool wait(stream_index later, stream_index s, std::uint64_t stamp,
                          lock_type& lock) noexcept;
  [[nodiscard]] bool wait(stream_index later, const stream_set& all, lock_type& lock) noexcept;
  /// All work enqueued on `earlier` so far runs before what is enqueued on `later` from now on. If
  /// both take part in one capture, that becomes an edge of the graph. Error: stream_captures.
  [[nodiscard]] status order(stream_index earlier, stream_index later, lock_type& lock) noexcept;
  /// The host waits until all that the stream freed is done, if that can be known now.
  void wait_on_host(stream_index s, lock_type& lock) noexcept;
  /// The host waits for all work of the device. Error: stream_captures, while a stream does,
  /// because the wait would end its capture without a graph.
  [[nodiscard]] status wait_for_device(lock_type& lock) noexcept;

  /// Null, or the first broken invariant.
  [[nodiscard]] const char* check() const noexcept;

 private:
  struct known_wait {
    stream_index stream = no_stream;
    std::uint64_t stamp = 0;
  };
  /// An event that covers all work of a stream up to a stamp.
  struct recording {
    cudaEvent_t event = nullptr;
    std::uint64_t stamp = 0;
  };
  struct stream_state {
    cudaStream_t handle = nullptr;
    stream_kind kind = stream_kind::none;
    bool is_in_use = false;
    bool is_retired = false;
    bool is_gone = false;  // the driver's answers say that it was destroyed without retire
    bool is_recycled = false;
    bool is_in_scope = false;
    bool is_asked = false;  // by the thread that has the turn
    std::uint8_t next_wait = 0;
    std::uint32_t number = 0;  // of stream_ref, 0: none
    std::uint64_t id = 0;
    std::uint64_t owner = 0;  // thread of a per-thread default stream, see this_thread
    std::uint64_t user = 0;   // the thread whose request it had last
    std::uint64_t freed = 0;  // the latest free
    std::uint64_t done = 0;   // known to be complete up to here
    std::size_t frees_unrecorded = 0;
    std::size_t bytes_unrecorded = 0;
    // By stamp. Only the thread that has the turn changes them, and with the lock.
    std::vector<recording> recordings;
    // The latest waits, as a memo: a wait that fell out of it is made again.
    std::array<known_wait, 8> waits{};
  };
  static constexpr std::size_t most_recordings = 64;

  /// One thread at a time asks the driver about a stream: while the turn lives, nobody else
  /// records, destroys or waits for its events, and the stream is neither retired nor forgotten.
  class turn {
   public:
    enum class patience : std::uint8_t { none, waits };
    turn(stream_order& of, stream_index s, patience wanted, lock_type& lock) noexcept;
    ~turn();
    turn(const turn&) = delete;
    turn& operator=(const turn&) = delete;
    [[nodiscard]] explicit operator bool() const noexcept { return has_it_; }

   private:
    stream_order& of_;
    stream_index stream_;
    bool has_it_;
  };

  void end_names(stream_index s) noexcept;
  [[nodiscard]] result<stream_index> add(const stream_ref& stream, std::uint64_t id) noexcept;
  [[nodiscard]] bool note_number(const stream_ref& stream, stream_index s) noexcept;
  [[nodiscard]] bool is_named_here(const stream_state& state) const noexcept;
  [[nodiscard]] std::uint64_t recorded(const stream_state& state) const noexcept;
  [[nodiscard]] std::uint64_t needed(stream_index s, std::uint64_t stamp) const noexcept;
  void remember(stream_index later, recording of, stream_index s) noexcept;
  template <class F>
  [[nodiscard]] bool all_of(const stream_set& all, F test) const noexcept;

  /// Calls the driver. A state stays where it is meanwhile, but what it says may change.
  template <class F>
  [[nodiscard]] static auto without(lock_type& lock, F call) noexcept {
    lock.unlock();
    auto answer = call();
    lock.lock();
    return answer;
  }

  // stream_events.cpp and stream_waits.cpp. Pre of those with a lock: this thread has the stream's
  // turn.
  [[nodiscard]] cudaStream_t usable_handle(stream_index s, lock_type& lock) noexcept;
  [[nodiscard]] bool cover(stream_index s, std::uint64_t stamp, lock_type& lock) noexcept;
  [[nodiscard]] bool record(stream_index s, cudaStream_t handle, lock_type& lock) noexcept;
  void ask_events(stream_index s, lock_type& lock) noexcept;
  [[nodiscard]] recording earliest(const stream_state& state, std::uint64_t stamp) const noexcept;
  void drop_done(stream_state& state) noexcept;
  [[nodiscard]] result<cudaEvent_t> make_event(stream_state& state, lock_type& lock) noexcept;
  [[nodiscard]] bool wait_for_event(stream_index later, cudaEvent_t event,
                                    lock_type& lock) noexcept;
  [[nodiscard]] status order_in_capture(cudaStream_t earlier, cudaStream_t later) noexcept;
  [[nodiscard]] bool any_captures(lock_type& lock) noexcept;

  driver& driver_;
  std::uint64_t clock_ = 0;
  unsigned active_ = 0;               // streams that have freed memory and are not retired
  std::deque<stream_state> streams_;  // a deque, so that a state stays where it is
  std::vector<stream_index> by_number_;
  std::unordered_map<std::uint64_t, stream_index> by_id_;  // ordinary and per-thread streams
  std::vector<cudaEvent_t> spare_events_;                  // capacity >= made_events_
  std::size_t made_events_ = 0;
  std::condition_variable turn_ends_;
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
