// SPDX-License-Identifier: Apache-2.0
//
// cache_list: the front caches of a pool, and the closer's side of their gates. The holder of the
// list may close all gates and wait until each owner is out; then it has the caches alone.
//
// Thread safety: every member from any thread, unless its comment says otherwise. One mutex guards
// the list; only its holder closes and opens gates. It is taken before ready lists and all that
// lies below them.
#pragma once

#include "cache/front_cache.hpp"
#include "pool/operation_count.hpp"

#include <cstddef>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

class cache_list {
 public:
  struct settings {
    bool opens = true;    // false: all gates stay closed, so every operation is a slow one
    bool fenced = false;  // owners run a fence, so that closers need no barrier
  };
  cache_list(const operation_count& operations, const settings& how) noexcept
      : operations_(operations), how_(how) {}
  cache_list(const cache_list&) = delete;
  cache_list& operator=(const cache_list&) = delete;

  [[nodiscard]] bool is_fenced() const noexcept { return how_.fenced; }
  /// Gives the cache to this owner; its thread calls it. False: the pool is closed.
  [[nodiscard]] bool add(front_cache& cache, thread_caches& owner) noexcept;
  /// Closes the gate, calls take_out(cache) and forgets the cache. Pre: its own thread calls, or
  /// the gate is closed and the process mutex is held.
  template <class F>
  void remove(front_cache& cache, F&& take_out) noexcept;
  /// Calls f(cache) if this owner still has it. Pre: its own thread calls, so no thread is inside.
  template <class F>
  void with_own(front_cache& cache, const thread_caches& owner, F&& f) noexcept;

  /// Holds the list; close() closes every gate and waits until each owner is out. An owner inside
  /// never waits for anything. After close() the holder must not wait for a thread of the user.
  class holder;
  /// Says whether there is an observer; all gates stay closed while there is one.
  void set_observed(bool observed) noexcept;
  /// Closes all gates; none may open again. Returns the first cache, null if there is none.
  /// Pre: the pool is closed.
  [[nodiscard]] front_cache* close_for_good() noexcept;

  // fork. `own` is this thread's cache, whose gate stays open; null: it has none.
  void pause(const front_cache* own) noexcept;
  void resume() noexcept;
  /// Calls inherit(cache) for the caches of vanished threads and forgets them. False: the system
  /// refuses the barrier now, so this thread finds its cache by the slow path only.
  template <class F>
  [[nodiscard]] bool continue_in_child(front_cache* own, bool has_barrier, F&& inherit) noexcept;

 private:
  [[nodiscard]] bool may_open() const noexcept {
    return how_.opens && !observed_ && !operations_.is_closed();
  }
  static void open_gate(front_cache& cache) noexcept;
  static void close_gate(front_cache& cache) noexcept;
  void close_gates(const front_cache* all_but) noexcept;
  void open_gates() noexcept;
  void unlink(const front_cache& cache) noexcept;
  [[nodiscard]] bool lose_barrier(front_cache* own) noexcept;

  const operation_count& operations_;
  settings how_;  // `fenced` is written by the only thread of a new child
  std::mutex mutex_;
  front_cache* first_ = nullptr;  // guarded by mutex_; linked through front_cache::next
  std::size_t count_ = 0;         // guarded by mutex_
  bool observed_ = false;         // guarded by mutex_
};

class cache_list::holder {
 public:
  explicit holder(cache_list& list) noexcept : list_(list), lock_(list.mutex_) {}
  ~holder() {
    if (closed_) {
      list_.open_gates();
    }
  }
  holder(const holder&) = delete;
  holder& operator=(const holder&) = delete;

  [[nodiscard]] std::size_t count() const noexcept { return list_.count_; }
  void close() noexcept {
    closed_ = true;
    list_.close_gates(nullptr);
  }
  /// Calls f(cache) for each. Pre: close() was called.
  template <class F>
  void for_each(F&& f) const {
    for (front_cache* cache = list_.first_; cache != nullptr; cache = cache->next) {
      f(*cache);
    }
  }

 private:
  cache_list& list_;
  const std::lock_guard<std::mutex> lock_;
  bool closed_ = false;
};

template <class F>
void cache_list::remove(front_cache& cache, F&& take_out) noexcept {
  const std::lock_guard lock(mutex_);
  close_gate(cache);
  take_out(cache);
  unlink(cache);
  // This is the last access: now the cache's thread may use its memory for another pool.
  cache.owner.store(nullptr, std::memory_order_release);
}

template <class F>
void cache_list::with_own(front_cache& cache, const thread_caches& owner, F&& f) noexcept {
  const std::lock_guard lock(mutex_);
  if (cache.owner.load(std::memory_order_relaxed) == &owner) {
    f(cache);
  }
}

template <class F>
bool cache_list::continue_in_child(front_cache* own, bool has_barrier, F&& inherit) noexcept {
  for (front_cache* cache = first_; cache != nullptr;) {
    front_cache* const next = cache->next;
    if (cache != own) {
      inherit(*cache);
    }
    cache = next;
  }
  first_ = own;
  count_ = own == nullptr ? 0 : 1;
  if (own != nullptr) {
    own->next = nullptr;
  }
  return has_barrier || how_.fenced || !lose_barrier(own);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
