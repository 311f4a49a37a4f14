// SPDX-License-Identifier: Apache-2.0
//
// operation_count: operations begin, end and nest; closing and fork wait for them.
#include "pool/operation_count.hpp"

#include "pool/process.hpp"

#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {
constinit thread_local operation_count::entry* innermost_entry = nullptr;
}  // namespace

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

// Whichever operation leaves last finishes the close, so no thread can wait for itself, even if it
// called close() from a callback. Count and wish share one word: read apart, an operation that
// began in between would be missed.
operation_count::outcome operation_count::leave(std::uint64_t share) noexcept {
  std::uint64_t now = word_.load(std::memory_order_seq_cst);
  do {
    if ((share & operations_mask) != 0 && (now & operations_mask) == one_operation &&
        (now & closing_bit) != 0) {
      return outcome::must_close;
    }
  } while (!word_.compare_exchange_weak(now, now - share, std::memory_order_seq_cst));
  return now == share ? outcome::last : outcome::left;
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

operation_count::entry::entry(operation_count& count) noexcept
    : count_(count), outer_(innermost_entry) {
  innermost_entry = this;
}

operation_count::entry::~entry() {
  innermost_entry = outer_;
}

operation_count::entry::obstacle operation_count::entry::begin(may_wait wait) noexcept {
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

callback::callback(in_observer observes) noexcept : innermost_(innermost_entry) {
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
