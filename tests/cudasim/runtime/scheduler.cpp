// SPDX-License-Identifier: Apache-2.0
//
// Streams and the scheduler. Operations wait until the host must wait for them, until the seeded
// dice say so, or until the thread of asynchronous mode comes round. Which stream goes first is
// random: each has a priority that changes now and then.
#include "runtime/runtime.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace cudasim {
namespace {

constexpr std::chrono::milliseconds look_again{1};

double seconds_now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

}  // namespace

stream& runtime::stream_of(cudaStream_t handle) {
  stream& found = find_stream(handle);
  require_no_implicit_wait(found, true);
  return found;
}

stream& runtime::find_stream(cudaStream_t handle) {
  if (handle == nullptr && null_is_per_thread) {
    handle = cudaStreamPerThread;
  }
  if (handle == nullptr || handle == cudaStreamLegacy) {
    return *devices.at(static_cast<std::size_t>(current_device)).legacy;
  }
  if (handle == cudaStreamPerThread) {
    stream*& own = per_thread_[{thread_number(), current_device}];
    if (own == nullptr) {
      own = &make_stream(current_device, cudaStreamDefault, 0);
    }
    return *own;
  }
  if (const auto known = by_handle_.find(handle); known != by_handle_.end()) {
    stream& found = *known->second;
    if (found.is_capturing()) {
      static_cast<void>(is_in_the_way(found));
    }
    return found;
  }
  note_stale("stream", handle);
  refuse(cudaErrorInvalidResourceHandle);
}

stream& runtime::make_stream(int device, unsigned flags, int priority) {
  stream& made = make_nameless_stream(device, flags, priority);
  made.handle = stream_handles_.take();
  by_handle_[made.handle] = &made;
  stale_.erase(made.handle);
  return made;
}

stream& runtime::make_nameless_stream(int device, unsigned flags, int priority) {
  auto made = std::make_unique<stream>();
  made->index = static_cast<int>(streams.size());
  made->device = device;
  made->flags = flags;
  made->priority = priority;
  made->blocking = (flags & cudaStreamNonBlocking) == 0;
  streams.push_back(std::move(made));
  stream& kept = *streams.back();
  if (kept.blocking) {
    devices.at(static_cast<std::size_t>(device)).blocking.push_back(&kept);
  }
  return kept;
}

void runtime::destroy_stream(stream& gone) {
  gone.destroyed = true;  // what it holds still runs, so the object stays
  foreign.lent.erase(&gone);
  by_handle_.erase(gone.handle);
  stale_.insert(gone.handle);
  if (set.handle_reuse) {
    stream_handles_.give_back(gone.handle);
  }
}

// Work in the legacy stream follows all blocking streams, and they follow it.
void runtime::add_dependencies(operation& made, stream& in) {
  device& of = devices.at(static_cast<std::size_t>(in.device));
  if (!in.legacy) {
    if (in.blocking && of.legacy->last != nullptr) {
      made.after.push_back(of.legacy->last);
    }
    return;
  }
  std::erase_if(of.blocking, [&](stream* other) {
    if (other == &in || other->last == nullptr) {
      return other->destroyed;
    }
    if (other->destroyed && other->last->done) {
      of.retired.join(other->last->who.clock);
      return true;
    }
    made.after.push_back(other->last);
    return false;
  });
  in.clock.join(of.retired);
}

operation_ptr runtime::enqueue(stream& in, std::string name, std::function<void(operation&)> run,
                               std::vector<operation_ptr> after, bool unlocked) {
  note_host_accesses();
  auto made = std::make_shared<operation>();
  made->in = &in;
  made->run = std::move(run);
  made->after = std::move(after);
  made->unlocked = unlocked;
  add_dependencies(*made, in);
  in.clock.join(host);
  for (const operation_ptr& earlier : made->after) {
    in.clock.join(earlier->who.clock);
  }
  in.clock.set(in.index, ++in.tick);
  made->who = {std::move(name), in.device, in.index, in.tick, in.clock, 0, 0};
  if (set.races) {
    races.enter(made->who);
  }
  in.queue.push_back(made);
  in.last = made;
  busy_[in.index] = &in;
  advance_host();
  if (set.eager) {
    run_until([&] { return made->done; });
  } else if (set.seed != 0 && !set.async) {
    while (random() % 4 < set.seed % 4 && step()) {  // every fourth seed runs nothing early
    }
  }
  changed.notify_all();
  wait_for_room(in);
  return made;
}

// As in a driver, whose channels have so many places. Where nobody else runs operations, the one
// who waits does, host functions too, so what they need must not be locked by the caller.
void runtime::wait_for_room(const stream& in) {
  if (set.pending_limit != 0) {
    run_until([&] { return in.queue.size() <= set.pending_limit; });
  }
}

operation_ptr runtime::choose_ready() {
  operation_ptr best;
  for (const auto& [index, candidate] : busy_) {
    const operation_ptr& head = candidate->queue.front();
    if (head->running) {
      continue;
    }
    std::erase_if(head->after, [](const operation_ptr& earlier) { return earlier->done; });
    if (!head->after.empty() || (head->ready && !head->ready())) {
      continue;
    }
    if (candidate->dice == 0 || random() % 8 == 0) {
      candidate->dice = random() | 1;
    }
    if (best == nullptr || candidate->dice > best->in->dice) {
      best = head;
    }
  }
  return best;
}

// Closed pages before and after, so that neither the function nor the rest of the host is taken for
// the other.
void runtime::run_host_function(operation& now) {
  const auto begin_again = [&] {
    note_host_accesses();
    if (pages.is_closed()) {
      pages.close();
    }
  };
  begin_again();
  lock.unlock();
  host_guard::set_acting(&now.who);
  is_host_function = true;
  now.run(now);
  is_host_function = false;
  host_guard::set_acting(nullptr);
  lock.lock();
  begin_again();
}

void runtime::execute_operation(const operation_ptr& now) {
  now->running = true;
  if (sticky == cudaSuccess) {
    try {
      if (now->unlocked) {
        run_host_function(*now);
      } else {
        pages.open_own();
        now->run(*now);
      }
    } catch (const fault& raised) {
      fail(static_cast<cudaError_t>(raised.code), raised.kind, raised.what());
    }
  }
  pages.close_own();
  now->time = seconds_now();
  now->done = true;
  ++executed_;
  now->run = nullptr;
  now->after.clear();
  now->in->queue.pop_front();
  if (now->in->queue.empty()) {
    busy_.erase(now->in->index);
  }
  changed.notify_all();
}

bool runtime::step() {
  const operation_ptr best = choose_ready();
  if (best == nullptr) {
    return false;
  }
  execute_operation(best);
  return true;
}

void runtime::run_until(const std::function<bool()>& done) {
  while (!done()) {
    if (!set.async && step()) {
      continue;
    }
    const bool any_running = std::any_of(busy_.begin(), busy_.end(), [](const auto& entry) {
      return entry.second->queue.front()->running;
    });
    if (!set.async && !any_running) {
      fail(cudaErrorUnknown, finding::deadlock, "the streams wait for each other");
      return;
    }
    changed.wait_for(lock, look_again);
  }
}

void runtime::wait(const operation_ptr& until) {
  if (until != nullptr) {
    run_until([&] { return until->done; });
    observe(*until);
  }
}

void runtime::synchronize(stream& all_of) {
  require_not_captured(all_of);
  if (all_of.legacy) {
    // By index: while the lock is open, streams may come.
    auto& blocking = devices.at(static_cast<std::size_t>(all_of.device)).blocking;
    for (std::size_t i = 0; i < blocking.size(); ++i) {
      wait(blocking[i]->last);
    }
  }
  wait(all_of.last);
  trim_pools_after_wait();
}

void runtime::synchronize_device(int device) {
  for (std::size_t i = 0; i < streams.size(); ++i) {
    if (streams[i]->device == device) {
      wait(streams[i]->last);
    }
  }
  trim_pools_after_wait();
}

void runtime::synchronize_all() {
  for (int i = 0; i < set.devices; ++i) {
    synchronize_device(i);
  }
}

void runtime::poll() {
  if (set.async) {
    return;
  }
  step();  // a host that polls makes progress
  if (set.seed != 0) {
    while (random() % 4 < set.seed % 4 && step()) {
    }
  }
}

void runtime::fail(cudaError_t error, finding kind, const std::string& what) {
  findings.add(kind, what);
  if (sticky == cudaSuccess) {
    sticky = error;
  }
}

// Other processes wait for what this one has enqueued, and nobody here may wait for them.
void runtime::run_on_thread() {
  if (!set.async) {
    set.async = true;
    set.eager = false;
    worker_ = std::thread([this] { run_thread(); });
  }
}

event& runtime::event_of(cudaEvent_t handle) {
  auto* const known = reinterpret_cast<event*>(handle);
  if (events.count(known) == 0) {
    note_stale("event", handle);
    refuse(cudaErrorInvalidResourceHandle);
  }
  return *known;
}

event& runtime::make_event() {
  std::unique_ptr<event> made;
  if (spare_events_.empty()) {
    made = std::make_unique<event>();
  } else {
    made = std::move(spare_events_.back());
    spare_events_.pop_back();
  }
  made->device = current_device;
  made->created_by = call_name;
  stale_.erase(made.get());
  events.insert(made.get());
  return *made.release();
}

// The address is the handle, which the next event may have. Else it stays allocated for ever.
void runtime::forget_event(event& gone) {
  gone = {};
  events.erase(&gone);
  stale_.insert(&gone);
  if (set.handle_reuse) {
    spare_events_.emplace_back(&gone);
  }
}

void runtime::run_thread() {
  std::unique_lock guard(lock);
  while (!stopping_) {
    if (step()) {
      guard.unlock();
      std::this_thread::yield();
      guard.lock();
    } else {
      changed.wait_for(guard, look_again);
    }
  }
}

}  // namespace cudasim
