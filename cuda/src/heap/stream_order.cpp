// SPDX-License-Identifier: Apache-2.0
//
// stream_order: sets of streams, stamps, and what is known without the driver. Events are recorded,
// asked and waited for in stream_events.cpp; finding streams by number or id, and their end, are in
// stream_names.cpp.
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

std::uint64_t stream_order::recorded(const stream_state& state) const noexcept {
  return state.recordings.empty() ? state.done
                                  : std::max(state.done, state.recordings.back().stamp);
}

std::uint64_t stream_order::next_stamp(stream_index s) noexcept {
  stream_state& state = streams_[s];
  active_ += state.freed == 0 && s != unknown_stream ? 1 : 0;
  state.freed = ++clock_;
  return clock_;
}

void stream_order::note_freed(stream_index s, std::size_t blocks, std::size_t bytes) noexcept {
  streams_[s].frees_unrecorded += blocks;
  streams_[s].bytes_unrecorded += bytes;
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

void stream_order::remember(stream_index later, recording of, stream_index s) noexcept {
  stream_state& waiting = streams_[later];
  for (known_wait& known : waiting.waits) {
    if (known.stream == s) {
      known.stamp = std::max(known.stamp, of.stamp);
      return;
    }
  }
  waiting.waits[waiting.next_wait] = {s, of.stamp};
  waiting.next_wait = static_cast<std::uint8_t>((waiting.next_wait + 1) % waiting.waits.size());
}

// The handle of a per-thread default stream means another stream on every thread: it names this one
// only on the thread that owns it.
bool stream_order::is_named_here(const stream_state& state) const noexcept {
  return state.kind != stream_kind::per_thread || state.owner == this_thread();
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

bool stream_order::catch_up(const stream_set& all, lock_type& lock) noexcept {
  return all_of(all, [&](stream_index s) { return catch_up(s, all.stamp, lock); });
}

bool stream_order::wait(stream_index later, const stream_set& all, lock_type& lock) noexcept {
  return all_of(all, [&](stream_index s) { return wait(later, s, all.stamp, lock); });
}

const char* stream_order::check() const noexcept {
  for (const stream_state& state : streams_) {
    if (state.done > clock_ || recorded(state) > clock_ || state.freed > clock_) {
      return "streams: a stream is known to be further than it can be";
    }
    std::uint64_t latest = 0;
    for (const recording& each : state.recordings) {
      if (each.event == nullptr || each.stamp < latest) {
        return "streams: an event is gone, or out of order";
      }
      latest = each.stamp;
    }
  }
  return nullptr;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
