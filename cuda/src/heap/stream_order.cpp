// SPDX-License-Identifier: Apache-2.0
//
// stream_order: events recorded, asked and waited for. Finding streams by number or id, and their
// end, are in stream_names.cpp.
#include "heap/stream_order.hpp"

#include <tidepool/assert.hpp>

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace cuda {

bool stream_set::has(stream_index s) const noexcept {
  const auto end = streams.begin() + count;
  return is_all || std::find(streams.begin(), end, s) != end;
}

void stream_set::add(stream_index s, std::uint64_t up_to) noexcept {
  stamp = std::max(stamp, up_to);
  if (has(s)) {
    return;
  }
  if (count == most_streams) {
    is_all = true;
    count = 0;
  } else {
    streams[count++] = s;
  }
}

void stream_set::add(const stream_set& others) noexcept {
  stamp = std::max(stamp, others.stamp);
  is_all = is_all || others.is_all;
  for (unsigned i = 0; i != others.count; ++i) {
    add(others.streams[i], others.stamp);
  }
}

// A stream that has freed nothing since `stamp` need not be waited for further than its latest
// free.
std::uint64_t stream_order::needed(stream_index s, std::uint64_t stamp) const noexcept {
  return std::min(stamp, streams_[s].freed);
}

std::uint64_t stream_order::next_stamp(stream_index s) noexcept {
  streams_[s].freed = ++clock_;
  return clock_;
}

bool stream_order::is_done(stream_index s, std::uint64_t stamp) const noexcept {
  return streams_[s].done >= needed(s, stamp);
}

bool stream_order::has_waited(stream_index later, stream_index s,
                              std::uint64_t stamp) const noexcept {
  if (later == s || is_done(s, stamp)) {
    return true;
  }
  const auto& waits = streams_[later].waits;
  return std::any_of(waits.begin(), waits.end(), [&](const known_wait& known) {
    return known.stream == s && known.stamp >= needed(s, stamp);
  });
}

void stream_order::remember(stream_index later, stream_index s) noexcept {
  stream_state& waiting = streams_[later];
  const std::uint64_t recorded = streams_[s].recorded;
  for (known_wait& known : waiting.waits) {
    if (known.stream == s) {
      known.stamp = recorded;
      return;
    }
  }
  waiting.waits[waiting.next_wait] = {s, recorded};
  waiting.next_wait = static_cast<std::uint8_t>((waiting.next_wait + 1) % waiting.waits.size());
}

// The handle of a per-thread default stream means another stream on every thread: it names this one
// only on the thread that owns it.
bool stream_order::is_named_here(const stream_state& state) const noexcept {
  return state.kind != stream_kind::per_thread || state.owner == this_thread();
}

// Answers the stream on which an event covers this one, or null if there is none now. A thread's
// own default stream has no handle on other threads; there the legacy stream stands in, because it
// waits for that stream.
cudaStream_t stream_order::usable_handle(stream_index s) noexcept {
  stream_state& state = streams_[s];
  if (s == unknown_stream || state.is_retired) {
    return nullptr;
  }
  const cudaStream_t handle = is_named_here(state) ? state.handle : cudaStreamLegacy;
  const result<capture_state> now = driver_.state_of(handle);
  state.is_gone = !now && now.error().code == errc::driver_error;
  return now && *now == capture_state::none && !find_recycled(s) ? handle : nullptr;
}

// Handles are given again. An event on the new stream would say nothing about the old one.
bool stream_order::find_recycled(stream_index s) noexcept {
  stream_state& state = streams_[s];
  if (state.kind == stream_kind::ordinary && !state.is_recycled) {
    const result<std::uint64_t> id = driver_.stream_id(state.handle);
    state.is_recycled = id && *id != state.id;
  }
  return state.is_recycled;
}

bool stream_order::record(stream_index s, cudaStream_t handle) noexcept {
  stream_state& state = streams_[s];
  if (state.event == nullptr) {
    const result<cudaEvent_t> made = driver_.make_event();
    if (!made) {
      return false;
    }
    state.event = *made;
  }
  if (!driver_.record(state.event, handle).ok()) {
    return false;
  }
  // Another thread may have begun to capture the stream meanwhile. The event is a node of that
  // graph then, and to wait for it would draw the waiting stream into the capture.
  const result<capture_state> now = driver_.state_of(handle);
  if (!now || *now != capture_state::none) {
    forget_event(state);
    return false;
  }
  state.recorded = clock_;
  return true;
}

// What the event covered before is not known any more.
void stream_order::forget_event(stream_state& state) noexcept {
  static_cast<void>(driver_.destroy_event(state.event));
  state.event = nullptr;
  state.recorded = state.done;
}

void stream_order::record_early(stream_index s) noexcept {
  if (streams_[s].kind == stream_kind::per_thread && is_named_here(streams_[s])) {
    // A failure is harmless: the event is recorded when another stream asks for the memory.
    static_cast<void>(cover(s, streams_[s].freed));
  }
}

bool stream_order::cover(stream_index s, std::uint64_t stamp) noexcept {
  if (streams_[s].recorded >= needed(s, stamp)) {
    return true;
  }
  const cudaStream_t handle = usable_handle(s);
  return handle != nullptr && record(s, handle);
}

void stream_order::ask_event(stream_index s) noexcept {
  stream_state& state = streams_[s];
  if (state.recorded > state.done) {
    const result<bool> answer = driver_.is_done(state.event);
    state.done = answer && *answer ? state.recorded : state.done;
  }
}

// An idle stream is asked directly, because a new event takes microseconds to be done even on an
// idle stream. The legacy stream answers that it is idle while streams that it waits for still
// work, so there only an event tells.
bool stream_order::catch_up(stream_index s, std::uint64_t stamp) noexcept {
  stream_state& state = streams_[s];
  if (is_done(s, stamp)) {
    return true;
  }
  ask_event(s);
  if (is_done(s, stamp) || state.recorded >= needed(s, stamp)) {
    return is_done(s, stamp);
  }
  const cudaStream_t handle = usable_handle(s);
  if (handle == nullptr) {
    return false;
  }
  if (handle != cudaStreamLegacy) {
    if (const result<bool> idle = driver_.is_idle(handle); idle && *idle) {
      state.recorded = clock_;
      state.done = clock_;
      return true;
    }
  }
  if (record(s, handle) && handle == cudaStreamLegacy) {
    ask_event(s);
  }
  return is_done(s, stamp);
}

bool stream_order::wait(stream_index later, stream_index s, std::uint64_t stamp) noexcept {
  if (has_waited(later, s, stamp)) {
    return true;
  }
  const stream_state& waiting = streams_[later];
  const bool has_handle = later != unknown_stream && !waiting.is_retired && is_named_here(waiting);
  if (!has_handle || !cover(s, stamp) || !driver_.wait(waiting.handle, streams_[s].event).ok()) {
    return false;
  }
  remember(later, s);
  return true;
}

template <class F>
bool stream_order::all_of(const stream_set& all, F test) const noexcept {
  if (!all.is_all) {
    return std::all_of(all.streams.begin(), all.streams.begin() + all.count, test);
  }
  for (stream_index s = legacy_stream; s != size(); ++s) {
    if (s != several_streams && !test(s)) {
      return false;
    }
  }
  return true;
}

bool stream_order::is_done(const stream_set& all) const noexcept {
  return all_of(all, [&](stream_index s) { return is_done(s, all.stamp); });
}

bool stream_order::has_waited(stream_index later, const stream_set& all) const noexcept {
  return all_of(all, [&](stream_index s) { return has_waited(later, s, all.stamp); });
}

bool stream_order::catch_up(const stream_set& all) noexcept {
  return all_of(all, [&](stream_index s) { return catch_up(s, all.stamp); });
}

bool stream_order::wait(stream_index later, const stream_set& all) noexcept {
  return all_of(all, [&](stream_index s) { return wait(later, s, all.stamp); });
}

// Always records a new event, because work that `earlier` was given after its latest free counts
// too, and no event covers that.
status stream_order::order(stream_index earlier, stream_index later) noexcept {
  if (earlier == later) {
    return {};
  }
  bool captures = false;
  for (const stream_index s : {earlier, later}) {
    if (!is_named_here(streams_[s])) {
      return {.code = errc::unsupported,
              .text = "another thread's default stream has no name here"};
    }
    const result<capture_state> now = state_of(s);
    if (!now) {
      return now.error();
    }
    captures = captures || *now != capture_state::none;
  }
  if (captures) {
    return order_in_capture(streams_[earlier].handle, streams_[later].handle);
  }
  if (find_recycled(earlier) || find_recycled(later)) {
    return {.code = errc::not_found, .text = "the stream's handle is another stream's by now"};
  }
  if (!record(earlier, streams_[earlier].handle) ||
      !driver_.wait(streams_[later].handle, streams_[earlier].event).ok()) {
    return driver_.is_lost()
               ? driver_.lost()
               : status{.code = errc::driver_error, .text = "ordering two streams failed"};
  }
  remember(later, earlier);
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

stream_order::host_wait stream_order::prepare_host_wait(stream_index s) noexcept {
  if (!is_outstanding(s)) {
    return {};
  }
  if (!cover(s, streams_[s].freed)) {
    // A stream that captures can be recorded when its capture ends. Waiting for the whole device
    // would invalidate the capture, so that is left to streams that can never be recorded again.
    return {.recorded = clock_,
            .needs_device = s == unknown_stream || streams_[s].is_retired || streams_[s].is_gone ||
                            streams_[s].is_recycled};
  }
  return {.event = streams_[s].event, .recorded = streams_[s].recorded};
}

void stream_order::came_to(stream_index s, std::uint64_t recorded) noexcept {
  stream_state& state = streams_[s];
  state.done = std::max(state.done, recorded);
  state.recorded = std::max(state.recorded, state.done);
}

const char* stream_order::check() const noexcept {
  for (const stream_state& state : streams_) {
    if (state.done > state.recorded || state.recorded > clock_ || state.freed > clock_) {
      return "streams: a stream is known to be further than it can be";
    }
    if (state.recorded > state.done && state.event == nullptr) {
      return "streams: an event is gone";
    }
  }
  return nullptr;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
