// SPDX-License-Identifier: Apache-2.0
//
// device_memory: the search for an extent, step by step as the head of device_memory.hpp says.
#include "heap/device_memory.hpp"
#include <tidepool/assert.hpp>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

// How many blocks that wait for several streams a request looks at: a bound on time, not a rule.
constexpr unsigned most_looked_at = 8;

[[nodiscard]] bool is_want_of_memory(const status& why) noexcept {
  return why.code == errc::out_of_memory || why.code == errc::over_budget;
}

}  // namespace

// Steps 1 and, after spans that are kept empty were given up, 1 again.
std::uint32_t device_memory::take_free(const requester& requester, const extent_shape& shape,
                                       extent_state state) noexcept {
  do {
    extent_place found;
    if (requester.own_heap) {
      found = extents_.find(requester.stream, shape);
    }
    if (found.extent == 0) {
      found = extents_.find(no_stream, shape);
    }
    if (found.extent != 0) {
      return extents_.take(found, shape.pages, state);
    }
  } while (spans_.release_empty());
  return 0;
}

// Step 2.
std::uint32_t device_memory::take_waited(const requester& requester, const extent_shape& shape,
                                         extent_state state) noexcept {
  if (!requester.own_heap) {
    return 0;
  }
  for (stream_index s = legacy_stream; s != order_.size(); ++s) {
    if (s == requester.stream || extents_.pages_of(s) < shape.pages) {
      continue;
    }
    extent_place found = extents_.find(s, shape);
    for (unsigned seen = 0; found.extent != 0 && seen != most_looked_at; ++seen) {
      const extent& e = extents_[found.extent];
      if (s == several_streams ? order_.has_waited(requester.stream, e.after_all_of)
                               : order_.has_waited(requester.stream, s, e.stamp)) {
        return extents_.take(found, shape.pages, state);
      }
      found = extents_.find_next(found.extent, shape);
    }
  }
  return 0;
}

// Step 3, for blocks that several streams used. True: one joined the memory for all.
bool device_memory::find_done_of_several(const extent_shape& shape) noexcept {
  extent_place found = extents_.find(several_streams, shape);
  for (unsigned seen = 0; found.extent != 0 && seen != most_looked_at; ++seen) {
    const extent& e = extents_[found.extent];
    if (order_.catch_up(e.after_all_of)) {
      extents_.move(found.extent, no_stream, 0);
      return true;
    }
    found = extents_.find_next(found.extent, shape);
  }
  return false;
}

// Step 3. True: something that may fit joined the memory for all.
bool device_memory::find_done(const requester& requester, const extent_shape& shape) noexcept {
  for (stream_index s = legacy_stream; s != order_.size(); ++s) {
    if (s == several_streams || (s == requester.stream && requester.own_heap) ||
        extents_.find(s, shape).extent == 0) {
      continue;
    }
    order_.catch_up(s, extents_[extents_.find(s, shape).extent].stamp);
    extents_.move_done(s, order_.done_up_to(s));
    if (extents_.find(no_stream, shape).extent != 0) {
      return true;
    }
  }
  return find_done_of_several(shape);
}

std::uint32_t device_memory::take_held(const requester& requester, const extent_shape& shape,
                                       extent_state state) noexcept {
  if (const std::uint32_t made = take_free(requester, shape, state); made != 0) {
    return made;
  }
  if (const std::uint32_t made = take_waited(requester, shape, state); made != 0) {
    return made;
  }
  return find_done(requester, shape) ? take_free(requester, shape, state) : 0;
}

// Step 5.
std::uint32_t device_memory::take_pending(const requester& requester, const extent_shape& shape,
                                          extent_state state) noexcept {
  for (stream_index s = legacy_stream; s != order_.size(); ++s) {
    const extent_place found = extents_.find(s, shape);
    if (found.extent == 0) {
      continue;
    }
    const extent& e = extents_[found.extent];
    if (s == several_streams ? order_.wait(requester.stream, e.after_all_of)
                             : order_.wait(requester.stream, s, e.stamp)) {
      return extents_.take(found, shape.pages, state);
    }
  }
  return 0;
}

// Step 6. What is waited for joins the requester's own heap, where it merges.
std::uint32_t device_memory::take_run(const requester& requester, const extent_shape& shape,
                                      extent_state state) noexcept {
  const extent_place run = extents_.find_run(shape);
  if (run.extent == 0) {
    return 0;
  }
  const std::uint64_t end = run.page + shape.pages;
  for (std::uint32_t i = run.extent; i != 0 && extents_[i].page < end; i = extents_[i].after) {
    const extent& e = extents_[i];
    if (e.heap == several_streams
            ? !order_.wait(requester.stream, e.after_all_of)
            : e.heap != no_stream && !order_.wait(requester.stream, e.heap, e.stamp)) {
      return 0;
    }
  }
  // In its own order the stream has it all from now on; for others it is a free of now.
  const std::uint64_t now = order_.next_stamp(requester.stream);
  std::uint32_t at = run.extent;
  extents_.move(at, requester.stream, now);
  while (extents_[at].page + extents_[at].pages < end) {
    at = extents_[at].after;
    extents_.move(at, requester.stream, now);
  }
  const extent_place made = extents_.find(requester.stream, shape);
  return made.extent == 0 ? 0 : extents_.take(made, shape.pages, state);
}

std::uint32_t device_memory::take_by_wait(const requester& requester, const extent_shape& shape,
                                          extent_state state) noexcept {
  const std::uint32_t made = take_pending(requester, shape, state);
  return made != 0 ? made : take_run(requester, shape, state);
}

// Pre: grow succeeded, and the mutex was held since.
result<std::uint32_t> device_memory::take_new(const extent_shape& shape,
                                              extent_state state) noexcept {
  const extent_place found = extents_.find(no_stream, shape);
  if (found.extent == 0) {
    return status{.code = errc::out_of_memory, .text = "a slab is shorter than was asked for"};
  }
  return extents_.take(found, shape.pages, state);
}

result<std::uint32_t> device_memory::obtain(const requester& requester, const extent_shape& shape,
                                            extent_state state, effort most,
                                            lock_type& lock) noexcept {
  if (const status why = extents_.reserve(); !why.ok()) {
    return why;
  }
  if (const std::uint32_t made = take_held(requester, shape, state); made != 0) {
    return made;
  }
  if (most == effort::wait && requester.may_wait) {
    if (const std::uint32_t made = take_by_wait(requester, shape, state); made != 0) {
      return made;
    }
  }
  if (most == effort::held || most == effort::wait) {
    return status{.code = errc::out_of_memory, .text = "not without taking more from the system"};
  }
  lock.unlock();
  const std::lock_guard growing(growth_mutex_);
  lock.lock();
  status why = extents_.reserve();
  if (!why.ok()) {
    return why;
  }
  // Memory for the host is in one heap or pending: what is done merges there with its neighbours,
  // which may do instead of growing. Elsewhere that would part streams from their own free memory.
  if (host_order_) {
    poll_all_streams();
  }
  // Another thread may have grown meanwhile.
  if (const std::uint32_t made = take_free(requester, shape, state); made != 0) {
    return made;
  }
  why = grow(shape, lock);
  if (why.ok()) {
    return take_new(shape, state);
  }
  if (most == effort::grow || requester.for_capture || !is_want_of_memory(why) ||
      !extents_.reserve().ok()) {
    return why;
  }
  std::uint32_t made = take_held(requester, shape, state);
  if (made == 0 && requester.may_wait) {
    made = take_by_wait(requester, shape, state);
  }
  if (made != 0) {
    return made;
  }
  // Step 7.
  wait_for_all(lock);
  if (!extents_.reserve().ok()) {
    return why;
  }
  made = take_held(requester, shape, state);
  if (made == 0 && requester.may_wait) {
    made = take_run(requester, shape, state);
  }
  if (made != 0) {
    return made;
  }
  if (release_idle(std::size_t{shape.pages} * page_bytes, UINT64_MAX, lock) != 0) {
    why = grow(shape, lock);
    if (why.ok()) {
      return take_new(shape, state);
    }
  }
  return why;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
