// SPDX-License-Identifier: Apache-2.0
//
// device_memory: streams that are named, ordered, waited for and retired.
#include "heap/device_memory.hpp"
#include <tidepool/support/thread_end.hpp>

namespace tidepool {
inline namespace v0 {
namespace cuda {

status device_memory::make_room_for_streams(stream_index count) noexcept {
  const status why = extents_.make_heaps(count);
  return why.ok() ? spans_.make_bins(count) : why;
}

// Frees cannot fail, so a stream has its heap and its bins before it is known.
result<stream_index> device_memory::find(const stream_ref& stream, lock_type& lock) noexcept {
  if (const stream_index s = order_.find_known(stream); s != no_stream) {
    return s;
  }
  if (support::this_thread_ends()) {
    return order_.find_by_handle(stream);
  }
  const result<std::uint64_t> id = order_.ask_id(stream, lock);
  if (!id) {
    return id.error().code == errc::stream_captures ? order_.find_by_handle(stream) : id.error();
  }
  const status why = make_room_for_streams(order_.size() + 1);
  return why.ok() ? order_.find_or_add(stream, *id) : why;
}

// What a recycled stream has freed can be ordered by no event. So this waits for the device, once;
// while that is refused because of a capture, the memory waits for the next time that all must
// wait.
void device_memory::retire(const stream_ref& stream) noexcept {
  lock_type lock(mutex_);
  result<stream_index> s = find(stream, lock);
  if (!s) {
    // The driver does not say which stream it is. It is destroyed next, so the handle has to tell.
    s = order_.find_by_handle(stream);
  }
  if (s) {
    static_cast<void>(spans_.release_empty(*s));
    order_.retire(*s, lock);
    if (order_.is_recycled(*s)) {
      static_cast<void>(order_.wait_for_device(lock));
    }
  }
  if (!support::this_thread_ends()) {
    forget_spent_streams(lock);
  }
}

void device_memory::set_in_scope(const stream_ref& stream, bool is_in_scope) noexcept {
  const std::lock_guard lock(mutex_);
  order_.set_in_scope(stream, is_in_scope);
}

// Gives the numbers of retired streams, whose work is complete, free for other streams.
void device_memory::forget_spent_streams(lock_type& lock) noexcept {
  for (stream_index s = first_user_stream; s != order_.size(); ++s) {
    if (order_.is_retired(s)) {
      order_.catch_up(s, order_.latest_free(s), lock);
    }
    if (order_.is_spent(s)) {
      extents_.move_done(s, order_.done_up_to(s));
      if (!spans_.has_spans(s)) {
        order_.forget(s);
      }
    }
  }
}

status device_memory::order(const stream_ref& earlier, const stream_ref& later) noexcept {
  lock_type lock(mutex_);
  const result<stream_index> first = find(earlier, lock);
  const result<stream_index> second = first ? find(later, lock) : first;
  if (!second) {
    return complete(second.error(), 0);
  }
  const status why = order_.order(*first, *second, lock);
  return why.ok() ? why : complete(why, 0);
}

result<std::uint64_t> device_memory::stream_id(const stream_ref& stream) noexcept {
  if (stream.number == 0) {
    const result<capture_state> now = driver_.state_of(handle_of(stream));
    if (!now) {
      return now.error();
    }
    if (*now == capture_state::captures) {
      return status{.code = errc::stream_captures,
                    .text = "open the capture_scope, or attach the stream, before the capture"};
    }
    return driver_.id_of_new_stream(stream);
  }
  lock_type lock(mutex_);
  const result<stream_index> s = find(stream, lock);
  return s ? result<std::uint64_t>(order_.id_of(*s)) : s.error();
}

// A stream that captures must not be asked whether its handle came again, and cannot be waited for.
status device_memory::synchronise(const stream_ref& stream) noexcept {
  lock_type lock(mutex_);
  if (const stream_index s = order_.find_known(stream); s != no_stream) {
    const result<capture_state> now = order_.state_of(s, lock);
    if (now && *now == capture_state::none && order_.find_recycled(s, lock)) {
      return order_.wait_for_device(lock);
    }
  }
  lock.unlock();
  return driver_.synchronise(handle_of(stream));
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
