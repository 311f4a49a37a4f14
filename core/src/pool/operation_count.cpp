// SPDX-License-Identifier: Apache-2.0
//
// operation_count: operations begin, end and nest; closing and fork wait for them.
#include "pool/operation_count.hpp"

#include "pool/operation_entry.hpp"

#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

constinit thread_local operation_count::entry* operation_count::innermost_entry = nullptr;

std::optional<close_mode> operation_count::mode_of(
    const std::atomic<std::uint8_t>& level) noexcept {
  const std::uint8_t now = level.load(std::memory_order_seq_cst);
  return now == 0 ? std::nullopt : std::optional(static_cast<close_mode>(now - 1));
}

operation_count::own_operations operation_count::of_this_thread() const noexcept {
  own_operations sum;
  for (const entry* e = innermost_entry; e != nullptr; e = e->outer_) {
    if (&e->count_ == this) {
      sum.counted += one_operation + (e->active_ ? one_active : 0);
      sum.observing += e->observes_ ? 1 : 0;
    }
  }
  return sum;
}

bool operation_count::want_close(close_mode mode) noexcept {
  const std::uint8_t level = level_of(mode);
  const std::uint8_t before = wanted_.load(std::memory_order_relaxed);
  if (before < level) {
    wanted_.store(level, std::memory_order_seq_cst);
    word_.fetch_or(closing_bit, std::memory_order_seq_cst);
  }
  return before == 0;
}

void operation_count::wait_until_reached(close_mode mode) const noexcept {
  const std::uint8_t level = level_of(mode);
  for (std::uint8_t reached = reached_.load(std::memory_order_acquire); reached < level;
       reached = reached_.load(std::memory_order_acquire)) {
    reached_.wait(reached, std::memory_order_acquire);
  }
}

void operation_count::reach_close(close_mode mode, std::size_t tensors) noexcept {
  const std::uint8_t level = level_of(mode);
  word_.fetch_add(tensors - (word_.load(std::memory_order_relaxed) & tensors_mask),
                  std::memory_order_seq_cst);
  reached_.store(level, std::memory_order_seq_cst);
  word_.fetch_and(~closing_bit, std::memory_order_seq_cst);
  if (wanted_.load(std::memory_order_seq_cst) != level) {
    word_.fetch_or(closing_bit, std::memory_order_seq_cst);  // force was wanted meanwhile
  }
  reached_.notify_all();
}

void operation_count::set_releasing(bool releasing) noexcept {
  releasing_.store(releasing, std::memory_order_seq_cst);
  if (!releasing) {
    releasing_.notify_all();
  }
}

// Waits for all threads but this one, which may have operations under way if it forks inside a
// backend.
void operation_count::wait_until_idle() const noexcept {
  const std::uint64_t own = of_this_thread().counted & active_mask;
  while ((word_.load(std::memory_order_seq_cst) & active_mask) != own) {
    std::this_thread::yield();
  }
}

// Operations of other threads, which were in callbacks or waited for this fork, ended with them.
void operation_count::continue_in_child() noexcept {
  const std::uint64_t own = of_this_thread().counted;
  constexpr std::uint64_t others = operations_mask | active_mask;
  word_.store((word_.load(std::memory_order_relaxed) & ~others) + own, std::memory_order_seq_cst);
  if (own == 0) {
    releasing_.store(false, std::memory_order_relaxed);
  }
}

void operation_count::entry::wait_for(obstacle seen) const noexcept {
  if (seen == obstacle::fork) {
    wait_for_fork();
  } else {
    count_.reached_.wait(reached_seen_, std::memory_order_acquire);
  }
}

bool operation_count::entry::nests() const noexcept {
  for (const entry* e = outer_; e != nullptr; e = e->outer_) {
    if (&e->count_ == &count_) {
      return true;
    }
  }
  return false;
}

callback::callback(in_observer observes) noexcept : innermost_(operation_count::innermost_entry) {
  for (auto* e = innermost_; e != nullptr && e->active_; e = e->outer_) {
    e->active_ = false;
    e->count_.word_.fetch_sub(operation_count::one_active, std::memory_order_seq_cst);
    last_ = e;
  }
  if (innermost_ != nullptr) {
    innermost_->observes_ = observes == in_observer::yes;
  }
}

callback::~callback() {
  if (innermost_ != nullptr) {
    innermost_->observes_ = false;
  }
  if (last_ == nullptr) {
    return;
  }
  for (;;) {
    count(operation_count::one_active);
    if (!must_wait_for_fork()) {
      break;
    }
    count(std::uint64_t{0} - operation_count::one_active);
    wait_for_fork();
  }
  for (auto* e = innermost_; e != nullptr; e = e == last_ ? nullptr : e->outer_) {
    e->active_ = true;
  }
}

void callback::count(std::uint64_t change) const noexcept {
  for (auto* e = innermost_; e != nullptr; e = e == last_ ? nullptr : e->outer_) {
    e->count_.word_.fetch_add(change, std::memory_order_seq_cst);
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
