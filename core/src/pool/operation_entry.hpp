// SPDX-License-Identifier: Apache-2.0
//
// operation_count::entry and callback: one operation of a thread, and a call of the user's code
// within one. Objects of one thread's stack; inline, as every slow operation has one.
#pragma once

#include "pool/operation_count.hpp"
#include "pool/process.hpp"

#include <atomic>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

class operation_count::entry {
 public:
  explicit entry(operation_count& count) noexcept : count_(count), outer_(innermost_entry) {
    innermost_entry = this;
  }
  ~entry() { innermost_entry = outer_; }
  entry(const entry&) = delete;
  entry& operator=(const entry&) = delete;

  /// An event for which the operation has to wait.
  enum class obstacle : std::uint8_t { none, fork, closing };
  /// Counts the operation. If it returns an obstacle, the caller leaves, waits with wait_for and
  /// calls begin again.
  [[nodiscard]] obstacle begin(may_wait wait) noexcept;
  void wait_for(obstacle seen) const noexcept;
  /// Is this thread within another operation of the same pool?
  [[nodiscard]] bool nests() const noexcept;

 private:
  friend class operation_count;
  friend class callback;
  operation_count& count_;
  entry* const outer_;
  bool active_ = false;            // counted, and not within a callback
  bool observes_ = false;          // within a callback of the observer, whose mutex is held shared
  std::uint8_t reached_seen_ = 0;  // when begin answered closing
};

inline operation_count::entry::obstacle operation_count::entry::begin(may_wait wait) noexcept {
  // Unless a callback stands between them, an operation inside another one is a part of it.
  const bool is_part = outer_ != nullptr && outer_->active_;
  active_ = true;
  count_.word_.fetch_add(one_operation + one_active, std::memory_order_seq_cst);
  if (wait == may_wait::no) {
    return obstacle::none;
  }
  if (!is_part && must_wait_for_fork()) {
    return obstacle::fork;
  }
  reached_seen_ = count_.reached_.load(std::memory_order_seq_cst);
  const bool closing = reached_seen_ < count_.wanted_.load(std::memory_order_seq_cst);
  return closing && !nests() ? obstacle::closing : obstacle::none;
}

/// A guard around each call of the user's code within an operation, so that fork does not wait for
/// that code. Pre: the operation has left nothing half done.
class callback {
 public:
  explicit callback(in_observer observes = in_observer::no) noexcept;
  ~callback();
  callback(const callback&) = delete;
  callback& operator=(const callback&) = delete;

 private:
  void count(std::uint64_t change) const noexcept;

  operation_count::entry* const innermost_;
  operation_count::entry* last_ = nullptr;  // the outermost entry that is not active meanwhile
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
