// SPDX-License-Identifier: Apache-2.0
//
// device_memory: the search for an extent, step by step as the head of device_memory.hpp says.
#include "heap/device_memory.hpp"
#include <tidepool/assert.hpp>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

// So many blocks that wait for several streams are looked at by one request, to bound its time.
constexpr unsigned most_looked_at = 8;

[[nodiscard]] bool is_want_of_memory(const status& why) noexcept {
  return why.code == errc::out_of_memory || why.code == errc::over_budget;
}

}  // namespace

// Step 1. If that finds nothing, empty spans are given up and step 1 is tried once more.
std::uint32_t device_memory::take_free(const extent_request& request) noexcept {
  do {
    extent_place found;
    if (request.own_heap) {
      found = extents_.find(request.stream, request.shape);
    }
    if (found.extent == 0) {
      found = extents_.find(no_stream, request.shape);
    }
    if (found.extent != 0) {
      return extents_.take(found, request.shape.pages, request.state);
    }
  } while (spans_.release_empty());
  return 0;
}

// Step 2.
std::uint32_t device_memory::take_waited(const extent_request& request) noexcept {
  if (!request.own_heap) {
    return 0;
  }
  for (stream_index s = legacy_stream; s != order_.size(); ++s) {
    if (s == request.stream || extents_.pages_of(s) < request.shape.pages) {
      continue;
    }
    extent_place found = extents_.find(s, request.shape);
    for (unsigned seen = 0; found.extent != 0 && seen != most_looked_at; ++seen) {
      const extent& e = extents_[found.extent];
      if (s == several_streams ? order_.has_waited(request.stream, e.after_all_of)
                               : order_.has_waited(request.stream, s, e.stamp)) {
        return extents_.take(found, request.shape.pages, request.state);
      }
      found = extents_.find_next(found.extent, request.shape);
    }
  }
  return 0;
}

// Step 3, for blocks that several streams used. True: one of them is now memory for everybody.
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

// Step 3. True: memory that may fit is now memory for everybody.
bool device_memory::find_done(const extent_request& request) noexcept {
  for (stream_index s = legacy_stream; s != order_.size(); ++s) {
    if (s == several_streams || (s == request.stream && request.own_heap) ||
        extents_.find(s, request.shape).extent == 0) {
      continue;
    }
    order_.catch_up(s, extents_[extents_.find(s, request.shape).extent].stamp);
    extents_.move_done(s, order_.done_up_to(s));
    if (extents_.find(no_stream, request.shape).extent != 0) {
      return true;
    }
  }
  return find_done_of_several(request.shape);
}

// Steps 1 and 2.
std::uint32_t device_memory::take_own(const extent_request& request) noexcept {
  const std::uint32_t made = take_free(request);
  return made != 0 ? made : take_waited(request);
}

std::uint32_t device_memory::take_held(const extent_request& request) noexcept {
  if (const std::uint32_t made = take_own(request); made != 0) {
    return made;
  }
  return find_done(request) ? take_free(request) : 0;
}

// Step 5.
std::uint32_t device_memory::take_pending(const extent_request& request) noexcept {
  for (stream_index s = legacy_stream; s != order_.size(); ++s) {
    const extent_place found = extents_.find(s, request.shape);
    if (found.extent == 0) {
      continue;
    }
    const extent& e = extents_[found.extent];
    if (s == several_streams ? order_.wait(request.stream, e.after_all_of)
                             : order_.wait(request.stream, s, e.stamp)) {
      return extents_.take(found, request.shape.pages, request.state);
    }
  }
  return 0;
}

// Step 6. The run moves into the requester's own heap, where its parts merge into one extent.
std::uint32_t device_memory::take_run(const extent_request& request) noexcept {
  const extent_place run = extents_.find_run(request.shape);
  if (run.extent == 0) {
    return 0;
  }
  const std::uint64_t end = run.page + request.shape.pages;
  for (std::uint32_t i = run.extent; i != 0 && extents_[i].page < end; i = extents_[i].after) {
    const extent& e = extents_[i];
    if (e.heap == several_streams
            ? !order_.wait(request.stream, e.after_all_of)
            : e.heap != no_stream && !order_.wait(request.stream, e.heap, e.stamp)) {
      return 0;
    }
  }
  // After the waits the stream may use all of it; towards other streams it counts as freed now.
  const std::uint64_t now = order_.next_stamp(request.stream);
  std::uint32_t at = run.extent;
  extents_.move(at, request.stream, now);
  while (extents_[at].page + extents_[at].pages < end) {
    at = extents_[at].after;
    extents_.move(at, request.stream, now);
  }
  const extent_place made = extents_.find(request.stream, request.shape);
  return made.extent == 0 ? 0 : extents_.take(made, request.shape.pages, request.state);
}

std::uint32_t device_memory::take_by_wait(const extent_request& request) noexcept {
  const std::uint32_t made = take_pending(request);
  return made != 0 ? made : take_run(request);
}

// Pre: grow succeeded, and the mutex was held since.
result<std::uint32_t> device_memory::take_new(const extent_request& request) noexcept {
  const extent_place found = extents_.find(no_stream, request.shape);
  if (found.extent == 0) {
    return status{.code = errc::out_of_memory, .text = "a slab is shorter than was asked for"};
  }
  return extents_.take(found, request.shape.pages, request.state);
}

// Steps 1 to 3, and 5 and 6 where the request says so; else goes on to grow.
result<std::uint32_t> device_memory::obtain(const extent_request& request,
                                            lock_type& lock) noexcept {
  if (const status why = extents_.reserve(); !why.ok()) {
    return why;
  }
  const std::uint32_t held = request.limit == effort::own ? take_own(request) : take_held(request);
  if (held != 0) {
    return held;
  }
  if (request.limit == effort::wait && request.may_wait) {
    if (const std::uint32_t made = take_by_wait(request); made != 0) {
      return made;
    }
  }
  if (request.limit <= effort::held || request.limit == effort::wait) {
    return status{.code = errc::out_of_memory, .text = "not without taking more from the system"};
  }
  lock.unlock();
  const std::lock_guard growing(growth_mutex_);
  lock.lock();
  return obtain_by_growth(request, lock);
}

// Step 4. Pre: growth_mutex_ is held too, here and below.
result<std::uint32_t> device_memory::obtain_by_growth(const extent_request& request,
                                                      lock_type& lock) noexcept {
  if (const status why = extents_.reserve(); !why.ok()) {
    return why;
  }
  // Host memory is either pending or in the heap for everybody. Asking all streams moves what is
  // done into that heap, where it merges with its neighbours and may make growth unnecessary.
  // Memory of a GPU is left alone: moving it would take from streams what they can use without
  // waiting.
  if (host_order_) {
    poll_all_streams();
  }
  // Another thread may have grown meanwhile.
  if (const std::uint32_t made = take_free(request); made != 0) {
    return made;
  }
  const status why = grow(request.shape, lock);
  if (why.ok()) {
    return take_new(request);
  }
  if (request.limit == effort::grow || request.for_capture || !is_want_of_memory(why) ||
      !extents_.reserve().ok()) {
    return why;
  }
  return obtain_by_waiting(request, why, lock);
}

// Steps 5 to 7, after growth was refused.
result<std::uint32_t> device_memory::obtain_by_waiting(const extent_request& request,
                                                       const status& refusal,
                                                       lock_type& lock) noexcept {
  std::uint32_t made = take_held(request);
  if (made == 0 && request.may_wait) {
    made = take_by_wait(request);
  }
  if (made != 0) {
    return made;
  }
  wait_for_all(lock);
  if (!extents_.reserve().ok()) {
    return refusal;
  }
  made = take_held(request);
  if (made == 0 && request.may_wait) {
    made = take_run(request);
  }
  if (made != 0) {
    return made;
  }
  if (release_idle(std::size_t{request.shape.pages} * page_bytes, UINT64_MAX, lock) == 0) {
    return refusal;
  }
  const status why = grow(request.shape, lock);
  return why.ok() ? take_new(request) : why;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
