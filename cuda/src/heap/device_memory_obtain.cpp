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

// Another thread may have used up the descriptors while the mutex was not held.
std::uint32_t device_memory::take_at(const extent_place& place,
                                     const extent_request& request) noexcept {
  return extents_.reserve().ok() ? extents_.take(place, request.shape.pages, request.state) : 0;
}

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
      return take_at(found, request);
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
    if (const std::uint32_t made = take_waited(request, s); made != 0) {
      return made;
    }
  }
  return 0;
}

std::uint32_t device_memory::take_waited(const extent_request& request, stream_index s) noexcept {
  extent_place found = extents_.find(s, request.shape);
  for (unsigned seen = 0; found.extent != 0 && seen != most_looked_at; ++seen) {
    const extent& e = extents_[found.extent];
    if (s == several_streams ? order_.has_waited(request.stream, e.after_all_of)
                             : order_.has_waited(request.stream, s, e.stamp)) {
      return take_at(found, request);
    }
    found = extents_.find_next(found.extent, request.shape);
  }
  return 0;
}

// Step 3, for blocks that several streams used. True: one of them is now memory for everybody.
bool device_memory::find_done_of_several(const extent_shape& shape, lock_type& lock) noexcept {
  extent_place found = extents_.find(several_streams, shape);
  for (unsigned seen = 0; found.extent != 0 && seen != most_looked_at; ++seen) {
    const std::uint32_t index = found.extent;
    const stream_set debts = extents_[index].after_all_of;
    order_.catch_up(debts, lock);
    if (!extents_.is_free_in(index, several_streams)) {
      return false;  // another thread has taken it meanwhile
    }
    if (order_.is_done(extents_[index].after_all_of)) {
      extents_.move(index, no_stream, 0);
      return true;
    }
    found = extents_.find_next(index, shape);
  }
  return false;
}

// Step 3. True: memory that may fit is now memory for everybody.
bool device_memory::find_done(const extent_request& request, lock_type& lock) noexcept {
  for (stream_index s = legacy_stream; s != order_.size(); ++s) {
    if (s == several_streams || (s == request.stream && request.own_heap) ||
        extents_.find(s, request.shape).extent == 0) {
      continue;
    }
    order_.catch_up(s, extents_[extents_.find(s, request.shape).extent].stamp, lock);
    extents_.move_done(s, order_.done_up_to(s));
    if (extents_.find(no_stream, request.shape).extent != 0) {
      return true;
    }
  }
  return find_done_of_several(request.shape, lock);
}

// Steps 1 and 2.
std::uint32_t device_memory::take_own(const extent_request& request) noexcept {
  const std::uint32_t made = take_free(request);
  return made != 0 ? made : take_waited(request);
}

std::uint32_t device_memory::take_held(const extent_request& request, lock_type& lock) noexcept {
  if (const std::uint32_t made = take_own(request); made != 0) {
    return made;
  }
  return find_done(request, lock) ? take_free(request) : 0;
}

// Step 5. The wait covers what is taken afterwards, which need not be what it was made for.
std::uint32_t device_memory::take_pending(const extent_request& request, lock_type& lock) noexcept {
  for (stream_index s = legacy_stream; s != order_.size(); ++s) {
    const extent_place found = extents_.find(s, request.shape);
    if (found.extent == 0) {
      continue;
    }
    const extent& e = extents_[found.extent];
    if (s != several_streams) {
      static_cast<void>(order_.wait(request.stream, s, e.stamp, lock));
      if (const std::uint32_t made = take_waited(request, s); made != 0) {
        return made;
      }
      continue;
    }
    const stream_set debts = e.after_all_of;
    if (order_.wait(request.stream, debts, lock) &&
        extents_.is_free_in(found.extent, several_streams) &&
        extents_[found.extent].after_all_of == debts) {
      return take_at(found, request);
    }
  }
  return 0;
}

// What has to be waited for before the run's memory is used.
stream_set device_memory::debts_of(const extent_place& run,
                                   const extent_shape& shape) const noexcept {
  stream_set debts;
  const std::uint64_t end = run.page + shape.pages;
  for (std::uint32_t i = run.extent; i != 0 && extents_[i].page < end; i = extents_[i].after) {
    const extent& e = extents_[i];
    if (e.heap == several_streams) {
      debts.add(e.after_all_of);
    } else if (e.heap != no_stream) {
      debts.add(e.heap, e.stamp);
    }
  }
  return debts;
}

// Step 6. If other threads change what the wait was for, the request goes on as if nothing was
// found.
std::uint32_t device_memory::take_run(const extent_request& request, lock_type& lock) noexcept {
  const extent_place run = extents_.find_run(request.shape);
  if (run.extent == 0) {
    return 0;
  }
  const stream_set debts = debts_of(run, request.shape);
  if (order_.has_waited(request.stream, debts)) {
    return take_run_at(run, request);
  }
  if (!order_.wait(request.stream, debts, lock)) {
    return 0;
  }
  const extent_place now = extents_.find_run(request.shape);
  return now == run && debts_of(now, request.shape) == debts ? take_run_at(now, request) : 0;
}

// The run moves into the requester's own heap, where its parts merge into one extent. After the
// waits the stream may use all of it; towards other streams it counts as freed now.
std::uint32_t device_memory::take_run_at(const extent_place& run,
                                         const extent_request& request) noexcept {
  const std::uint64_t end = run.page + request.shape.pages;
  const std::uint64_t now = order_.next_stamp(request.stream);
  std::uint32_t at = run.extent;
  extents_.move(at, request.stream, now);
  while (extents_[at].page + extents_[at].pages < end) {
    at = extents_[at].after;
    extents_.move(at, request.stream, now);
  }
  const extent_place made = extents_.find(request.stream, request.shape);
  return made.extent == 0 ? 0 : take_at(made, request);
}

std::uint32_t device_memory::take_by_wait(const extent_request& request, lock_type& lock) noexcept {
  const std::uint32_t made = take_pending(request, lock);
  return made != 0 ? made : take_run(request, lock);
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
  const std::uint32_t held =
      request.limit == effort::own ? take_own(request) : take_held(request, lock);
  if (held != 0) {
    return held;
  }
  if (request.limit == effort::wait && request.may_wait) {
    if (const std::uint32_t made = take_by_wait(request, lock); made != 0) {
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
    poll_all_streams(lock);
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
  std::uint32_t made = take_held(request, lock);
  if (made == 0 && request.may_wait) {
    made = take_by_wait(request, lock);
  }
  if (made != 0) {
    return made;
  }
  wait_for_all(lock);
  if (!extents_.reserve().ok()) {
    return refusal;
  }
  made = take_held(request, lock);
  if (made == 0 && request.may_wait) {
    made = take_run(request, lock);
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
