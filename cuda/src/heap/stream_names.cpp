// SPDX-License-Identifier: Apache-2.0
//
// stream_order: which stream a stream_ref names. A number that the pool gave is trusted until
// retire; without one the runtime is asked for the stream's id, because handles are given again
// after a stream is destroyed, and the handle of per-thread default streams is one for all threads.
#include "heap/stream_order.hpp"
#include <tidepool/assert.hpp>

#include <atomic>
#include <exception>

namespace tidepool {
inline namespace v0 {
namespace cuda {

std::uint64_t this_thread() noexcept {
  static constinit std::atomic<std::uint64_t> threads{0};
  thread_local const std::uint64_t mine = threads.fetch_add(1, std::memory_order_relaxed) + 1;
  return mine;
}

stream_order::~stream_order() {
  for (const stream_state& state : streams_) {
    for (const recording& each : state.recordings) {
      static_cast<void>(driver_.destroy_event(each.event));
    }
  }
  for (const cudaEvent_t event : spare_events_) {
    static_cast<void>(driver_.destroy_event(event));
  }
}

status stream_order::prepare() noexcept {
  try {
    streams_.resize(first_user_stream);
  } catch (const std::exception&) {
    return {.code = errc::out_of_memory};
  }
  stream_state& legacy = streams_[legacy_stream];
  legacy.handle = cudaStreamLegacy;
  legacy.kind = stream_kind::legacy;
  legacy.is_in_use = true;
  streams_[unknown_stream].is_in_use = true;
  return {};
}

stream_index stream_order::find_known(const stream_ref& stream) const noexcept {
  const cudaStream_t handle = handle_of(stream);
  if (handle == cudaStreamLegacy) {
    return legacy_stream;
  }
  if (stream.number == 0 || stream.number >= by_number_.size()) {
    return no_stream;
  }
  const stream_index s = by_number_[stream.number];
  return s != no_stream && streams_[s].handle == handle ? s : no_stream;
}

result<std::uint64_t> stream_order::ask_id(const stream_ref& stream, lock_type& lock) noexcept {
  const auto ask = [&]() noexcept -> result<std::uint64_t> {
    const result<capture_state> now = driver_.state_of(handle_of(stream));
    if (!now) {
      return now.error();
    }
    if (*now == capture_state::captures) {
      return errc::stream_captures;
    }
    return driver_.id_of_new_stream(stream);
  };
  return without(lock, ask);
}

result<stream_index> stream_order::find_or_add(const stream_ref& stream,
                                               std::uint64_t id) noexcept {
  const auto known = by_id_.find(id);
  if (known == by_id_.end()) {
    return add(stream, id);
  }
  if (!note_number(stream, known->second)) {
    return errc::out_of_memory;
  }
  return known->second;
}

// A stream that captures cannot be asked for its id, so its handle has to tell. If the handle has
// come again, that is noticed before an event is recorded.
result<stream_index> stream_order::find_by_handle(const stream_ref& stream) const noexcept {
  for (stream_index s = first_user_stream; s != size(); ++s) {
    const stream_state& known = streams_[s];
    if (known.is_in_use && !known.is_retired && !known.is_recycled && known.kind == stream.kind &&
        known.handle == handle_of(stream) && is_named_here(known)) {
      return s;
    }
  }
  return status{.code = errc::stream_captures,
                .text = "the stream captures, and it was not named before: open the capture_scope, "
                        "or attach the stream, before the capture begins"};
}

bool stream_order::note_number(const stream_ref& stream, stream_index s) noexcept {
  if (stream.number == 0) {
    return true;
  }
  try {
    if (stream.number >= by_number_.size()) {
      by_number_.resize(std::size_t{stream.number} + 1, no_stream);
    }
  } catch (const std::exception&) {
    return false;
  }
  by_number_[stream.number] = s;
  streams_[s].number = stream.number;
  return true;
}

result<stream_index> stream_order::add(const stream_ref& stream, std::uint64_t id) noexcept {
  stream_index s = first_user_stream;
  while (s != size() && streams_[s].is_in_use) {
    ++s;
  }
  try {
    if (s == size()) {
      streams_.emplace_back();
    }
    by_id_.emplace(id, s);
  } catch (const std::exception&) {
    return errc::out_of_memory;
  }
  stream_state& made = streams_[s];
  made.handle = handle_of(stream);
  made.kind = stream.kind;
  made.is_in_use = true;
  made.id = id;
  if (made.kind == stream_kind::per_thread) {
    made.owner = this_thread();
  }
  if (!note_number(stream, s)) {
    forget(s);
    return errc::out_of_memory;
  }
  return s;
}

result<capture_state> stream_order::state_of(stream_index s, lock_type& lock) noexcept {
  const stream_state& state = streams_[s];
  if (!is_named_here(state)) {
    return capture_state::blocked;  // its handle means another stream on this thread
  }
  return without(lock, [&, handle = state.handle] { return driver_.state_of(handle); });
}

void stream_order::set_in_scope(const stream_ref& stream, bool is_in_scope) noexcept {
  for (stream_state& state : streams_) {
    if (state.is_in_use && !state.is_retired && state.handle == handle_of(stream) &&
        is_named_here(state)) {
      state.is_in_scope = is_in_scope;
    }
  }
}

// The legacy stream stands in for a thread's own default stream at any later time, so no event is
// needed now, and the thread may be at its end.
void stream_order::retire(stream_index s, lock_type& lock) noexcept {
  if (s < first_user_stream || streams_[s].is_retired) {
    return;
  }
  if (streams_[s].kind == stream_kind::per_thread) {
    end_names(s);
    return;
  }
  const turn mine(*this, s, turn::patience::waits, lock);
  if (!streams_[s].is_retired) {
    static_cast<void>(cover(s, streams_[s].freed, lock));
    end_names(s);
  }
}

void stream_order::end_names(stream_index s) noexcept {
  stream_state& state = streams_[s];
  by_id_.erase(state.id);
  if (state.number != 0 && state.number < by_number_.size()) {
    by_number_[state.number] = no_stream;
  }
  state.number = 0;
  state.is_retired = true;
  active_ -= state.freed != 0 ? 1 : 0;
}

bool stream_order::is_spent(stream_index s) const noexcept {
  const stream_state& state = streams_[s];
  return state.is_in_use && state.is_retired && !state.is_asked && !is_outstanding(s);
}

// Waits for the old stream that others remember do no harm: their stamps are earlier than any that
// the next stream frees at.
void stream_order::forget(stream_index s) noexcept {
  TIDEPOOL_ASSERT(1, s >= first_user_stream && !is_outstanding(s) && !streams_[s].is_asked);
  by_id_.erase(streams_[s].id);
  for (const recording& each : streams_[s].recordings) {
    spare_events_.push_back(each.event);
  }
  streams_[s] = stream_state{};
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
