// SPDX-License-Identifier: Apache-2.0
//
// stream_order: streams and the host wait. Every driver call here is made without the mutex.
#include "heap/stream_order.hpp"

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace cuda {

// The waiting stream was asked for its state by the request, which is long ago for a thread that
// captures.
bool stream_order::wait_for_event(stream_index later, cudaEvent_t event, lock_type& lock) noexcept {
  const stream_state& waiting = streams_[later];
  if (later == unknown_stream || waiting.is_retired || waiting.is_in_scope ||
      !is_named_here(waiting)) {
    return false;
  }
  return without(lock, [&, handle = waiting.handle] {
    const auto is_free = [&] {
      const result<capture_state> now = driver_.state_of(handle);
      return now && *now == capture_state::none;
    };
    return is_free() && driver_.wait(handle, event).ok() && is_free();
  });
}

bool stream_order::wait(stream_index later, stream_index s, std::uint64_t stamp,
                        lock_type& lock) noexcept {
  if (has_waited(later, s, stamp)) {
    return true;
  }
  const turn mine(*this, s, turn::patience::waits, lock);
  if (has_waited(later, s, stamp)) {
    return true;
  }
  if (!cover(s, stamp, lock)) {
    return false;
  }
  const recording covers = earliest(streams_[s], needed(s, stamp));
  if (covers.event == nullptr) {
    return is_done(s, stamp);
  }
  if (!wait_for_event(later, covers.event, lock)) {
    return false;
  }
  remember(later, covers, s);
  return true;
}

// Always records a new event, because work that `earlier` was given after its latest free counts
// too, and no event covers that.
status stream_order::order(stream_index earlier, stream_index later, lock_type& lock) noexcept {
  if (earlier == later) {
    return {};
  }
  bool captures = false;
  for (const stream_index s : {earlier, later}) {
    if (!is_named_here(streams_[s])) {
      return {.code = errc::unsupported,
              .text = "another thread's default stream has no name here"};
    }
    const result<capture_state> now = state_of(s, lock);
    if (!now) {
      return now.error();
    }
    captures = captures || *now != capture_state::none;
  }
  if (captures) {
    return without(lock, [&, first = streams_[earlier].handle, second = streams_[later].handle] {
      return order_in_capture(first, second);
    });
  }
  const turn mine(*this, earlier, turn::patience::waits, lock);
  if (find_recycled(earlier, lock) || find_recycled(later, lock)) {
    return {.code = errc::not_found, .text = "the stream's handle is another stream's by now"};
  }
  if (!record(earlier, streams_[earlier].handle, lock) ||
      !wait_for_event(later, streams_[earlier].recordings.back().event, lock)) {
    return driver_.is_lost()
               ? driver_.lost()
               : status{.code = errc::driver_error, .text = "ordering two streams failed"};
  }
  auto& all = streams_[earlier].recordings;
  remember(later, all.back(), earlier);
  if (all.size() > 1 && all[all.size() - 2].stamp == all.back().stamp) {
    // Nothing was freed between the two, so the earlier one says the same about memory.
    spare_events_.push_back(all.back().event);
    all.pop_back();
  }
  return {};
}

// The event is of the graph from now on, and good for nothing else. The record and the wait are
// what an application does to fork and join, so they are legal; they change nothing that is known
// here.
status stream_order::order_in_capture(cudaStream_t earlier, cudaStream_t later) noexcept {
  const result<std::uint64_t> first = driver_.capture_of(earlier);
  const result<std::uint64_t> second = driver_.capture_of(later);
  if (!first || !second || *first == 0 || *first != *second) {
    return {.code = errc::stream_captures, .text = "a captured stream has an order of its own"};
  }
  const result<cudaEvent_t> event = driver_.make_event();
  if (!event) {
    return event.error();
  }
  status why = driver_.record(*event, earlier);
  if (why.ok()) {
    why = driver_.wait(later, *event);
  }
  static_cast<void>(driver_.destroy_event(*event));
  return why;
}

// A stream that captures can be recorded when its capture ends. To wait for the whole device is
// left to streams that can never be recorded again.
void stream_order::wait_on_host(stream_index s, lock_type& lock) noexcept {
  if (!is_outstanding(s)) {
    return;
  }
  const turn mine(*this, s, turn::patience::waits, lock);
  if (cover(s, streams_[s].freed, lock)) {
    const recording covers = earliest(streams_[s], streams_[s].freed);
    if (covers.event != nullptr &&
        without(lock, [&] { return driver_.wait_on_host(covers.event); }).ok()) {
      streams_[s].done = std::max(streams_[s].done, covers.stamp);
    }
    return;
  }
  const stream_state& state = streams_[s];
  const bool is_never_covered = state.is_retired && state.kind != stream_kind::per_thread;
  if (s == unknown_stream || is_never_covered || state.is_gone || state.is_recycled) {
    static_cast<void>(wait_for_device(lock));
  }
}

bool stream_order::any_captures(lock_type& lock) noexcept {
  for (stream_index s = legacy_stream; s != size(); ++s) {
    const stream_state& state = streams_[s];
    const bool has_handle = state.handle != nullptr && state.is_in_use && !state.is_retired &&
                            !state.is_gone && !state.is_recycled && is_named_here(state);
    if (state.is_in_scope) {
      return true;
    }
    if (has_handle) {
      const result<capture_state> now =
          without(lock, [&, handle = state.handle] { return driver_.state_of(handle); });
      if (now && *now == capture_state::captures) {
        return true;
      }
    }
  }
  return false;
}

status stream_order::wait_for_device(lock_type& lock) noexcept {
  if (any_captures(lock)) {
    return {.code = errc::stream_captures,
            .text = "the host cannot wait for a device of which a stream captures"};
  }
  const std::uint64_t now = clock_;
  const status why = without(lock, [&] { return driver_.synchronise_device(); });
  for (stream_state& state : streams_) {
    state.done = why.ok() && state.is_in_use ? std::max(state.done, now) : state.done;
  }
  return why;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
