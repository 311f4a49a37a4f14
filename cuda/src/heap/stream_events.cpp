// SPDX-License-Identifier: Apache-2.0
//
// stream_order: events recorded and asked. Every driver call here is made without the mutex, by the
// one thread that has the turn of the stream whose events it uses. Waits are in stream_waits.cpp.
#include "heap/stream_order.hpp"
#include <tidepool/support/thread_end.hpp>

#include <algorithm>
#include <exception>
#include <thread>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

// A new event takes microseconds to be done even on an idle stream. To ask the stream itself would
// be quicker, but ends its capture if another thread has just begun one.
constexpr unsigned most_questions = 16;

}  // namespace

stream_order::turn::turn(stream_order& of, stream_index s, patience wanted,
                         lock_type& lock) noexcept
    : of_(of), stream_(s), has_it_(true) {
  if (wanted == patience::none) {
    has_it_ = !of.streams_[s].is_asked;
  } else {
    of.turn_ends_.wait(lock, [&] { return !of.streams_[s].is_asked; });
  }
  if (has_it_) {
    of.streams_[s].is_asked = true;
  }
}

stream_order::turn::~turn() {
  if (has_it_) {
    stream_state& state = of_.streams_[stream_];
    of_.drop_done(state);
    state.is_asked = false;
    of_.turn_ends_.notify_all();
  }
}

// The spare list has room for every event, so that this cannot fail.
void stream_order::drop_done(stream_state& state) noexcept {
  auto& all = state.recordings;
  const auto pending = std::find_if(all.begin(), all.end(),
                                    [&](const recording& each) { return each.stamp > state.done; });
  for (auto each = all.begin(); each != pending; ++each) {
    spare_events_.push_back(each->event);
  }
  all.erase(all.begin(), pending);
}

// The event that covers the stamp and the least of what came later.
auto stream_order::earliest(const stream_state& state, std::uint64_t stamp) const noexcept
    -> recording {
  const auto& all = state.recordings;
  const auto found = std::lower_bound(
      all.begin(), all.end(), stamp,
      [](const recording& each, std::uint64_t wanted) { return each.stamp < wanted; });
  return found == all.end() ? recording{} : *found;
}

result<cudaEvent_t> stream_order::make_event(stream_state& state, lock_type& lock) noexcept {
  drop_done(state);
  if (state.recordings.size() == most_recordings) {
    // The next one covers what this one did.
    spare_events_.push_back(state.recordings.front().event);
    state.recordings.erase(state.recordings.begin());
  }
  if (!spare_events_.empty()) {
    const cudaEvent_t spare = spare_events_.back();
    spare_events_.pop_back();
    return spare;
  }
  try {
    if (spare_events_.capacity() <= made_events_) {
      spare_events_.reserve(2 * (made_events_ + 1));
    }
  } catch (const std::exception&) {
    return errc::out_of_memory;
  }
  ++made_events_;
  const result<cudaEvent_t> made = without(lock, [&] { return driver_.make_event(); });
  made_events_ -= made ? 0 : 1;
  return made;
}

// Answers the stream on which an event covers this one, or null if there is none now. A thread's
// own default stream has no handle on other threads, and none when its thread has ended; there the
// legacy stream stands in, because it waits for that stream.
cudaStream_t stream_order::usable_handle(stream_index s, lock_type& lock) noexcept {
  const stream_state& state = streams_[s];
  const bool is_of_thread = state.kind == stream_kind::per_thread;
  if (s == unknown_stream || (state.is_retired && !is_of_thread) || state.is_in_scope) {
    return nullptr;
  }
  const bool is_named = is_named_here(state) && !state.is_retired;
  const cudaStream_t handle = is_named ? state.handle : cudaStreamLegacy;
  const result<capture_state> now = without(lock, [&] { return driver_.state_of(handle); });
  streams_[s].is_gone = !now && now.error().code == errc::driver_error;
  return now && *now == capture_state::none && !find_recycled(s, lock) ? handle : nullptr;
}

// Handles are given again. An event on the new stream would say nothing about the old one.
bool stream_order::find_recycled(stream_index s, lock_type& lock) noexcept {
  const stream_state& state = streams_[s];
  if (state.kind != stream_kind::ordinary || state.is_recycled) {
    return state.is_recycled;
  }
  const std::uint64_t known = state.id;
  const result<std::uint64_t> id =
      without(lock, [&, handle = state.handle] { return driver_.stream_id(handle); });
  const bool is_recycled = id && *id != known;
  if (is_recycled && streams_[s].id == known) {
    streams_[s].is_recycled = true;
  }
  return is_recycled;
}

// Frees that come while the driver is called may follow work that the event does not cover, so the
// stamp is taken before.
bool stream_order::record(stream_index s, cudaStream_t handle, lock_type& lock) noexcept {
  stream_state& state = streams_[s];
  const std::uint64_t now = clock_;
  const std::size_t frees = state.frees_unrecorded;
  const std::size_t bytes = state.bytes_unrecorded;
  try {
    state.recordings.reserve(most_recordings);
  } catch (const std::exception&) {
    return false;
  }
  const result<cudaEvent_t> event = make_event(state, lock);
  if (!event) {
    return false;
  }
  // Another thread may have begun to capture the stream meanwhile. The event belongs to that graph
  // then, and to wait for it would draw the waiting stream into the capture.
  const bool is_good = without(lock, [&] {
    if (!driver_.record(*event, handle).ok()) {
      static_cast<void>(driver_.destroy_event(*event));
      return false;
    }
    const result<capture_state> after = driver_.state_of(handle);
    if (!after || *after != capture_state::none) {
      static_cast<void>(driver_.destroy_event(*event));
      return false;
    }
    return true;
  });
  if (!is_good) {
    --made_events_;
    return false;
  }
  state.recordings.push_back({*event, now});
  state.frees_unrecorded -= frees;
  state.bytes_unrecorded -= bytes;
  return true;
}

bool stream_order::cover(stream_index s, std::uint64_t stamp, lock_type& lock) noexcept {
  if (recorded(streams_[s]) >= needed(s, stamp)) {
    return true;
  }
  const cudaStream_t handle = usable_handle(s, lock);
  return handle != nullptr && record(s, handle, lock);
}

void stream_order::record_early(stream_index s, lock_type& lock) noexcept {
  if (support::this_thread_ends()) {
    return;
  }
  const stream_state& state = streams_[s];
  const bool is_due = state.kind == stream_kind::per_thread
                          ? is_named_here(state)
                          : active_ > 1 && state.user == this_thread() &&
                                (state.frees_unrecorded >= most_frees_unrecorded ||
                                 state.bytes_unrecorded >= most_bytes_unrecorded);
  if (!is_due) {
    return;
  }
  // A failure is harmless: the event is recorded when another stream asks for the memory.
  if (const turn mine(*this, s, turn::patience::none, lock); mine) {
    static_cast<void>(cover(s, streams_[s].freed, lock));
  }
}

// Events of one stream are done in their order, so the latest one that is done is found by halving.
// An event that cannot be asked, for example because it was recorded in a capture that has ended
// since, is worth nothing.
void stream_order::ask_events(stream_index s, lock_type& lock) noexcept {
  drop_done(streams_[s]);
  stream_state& state = streams_[s];
  std::size_t done = 0;  // so many are
  std::size_t pending = state.recordings.size();
  bool is_first = true;
  while (done != pending) {
    const std::size_t asked = is_first ? pending - 1 : done + (pending - done) / 2;
    is_first = false;
    const cudaEvent_t event = state.recordings[asked].event;
    const result<bool> answer = without(lock, [&] { return driver_.is_done(event); });
    if (!answer) {
      static_cast<void>(without(lock, [&] { return driver_.destroy_event(event); }));
      state.recordings.erase(state.recordings.begin() + static_cast<std::ptrdiff_t>(asked));
      --made_events_;
      --pending;
    } else if (*answer) {
      done = asked + 1;
      state.done = std::max(state.done, state.recordings[asked].stamp);
    } else {
      pending = asked;
    }
  }
  drop_done(state);
}

bool stream_order::catch_up(stream_index s, std::uint64_t stamp, lock_type& lock) noexcept {
  if (is_done(s, stamp)) {
    return true;
  }
  const turn mine(*this, s, turn::patience::none, lock);
  if (!mine) {
    return false;
  }
  ask_events(s, lock);
  if (is_done(s, stamp) || recorded(streams_[s]) >= needed(s, stamp)) {
    return is_done(s, stamp);
  }
  const bool may_be_idle = streams_[s].recordings.empty();
  const cudaStream_t handle = usable_handle(s, lock);
  if (handle != nullptr && record(s, handle, lock) && may_be_idle) {
    for (unsigned asked = 0; asked != most_questions && !is_done(s, stamp); ++asked) {
      ask_events(s, lock);
      std::this_thread::yield();
    }
  }
  return is_done(s, stamp);
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
