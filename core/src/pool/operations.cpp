// SPDX-License-Identifier: Apache-2.0
//
// Slow operations under way: what closing and fork wait for. One word counts them (uses_), so that
// beginning and ending one is one atomic operation each.
#include "pool/pool_core.hpp"
#include "pool/process.hpp"
#include <tidepool/assert.hpp>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {
constinit thread_local pool_core::use* innermost_use = nullptr;
}  // namespace

pool_core::use::use(pool_core& pool, bool waits) noexcept : pool_(pool), outer_(innermost_use) {
  const bool nested = nests();
  // An operation within another one, not within a callback of it, is a part of that.
  const bool begins = outer_ == nullptr || !outer_->active_;
  innermost_use = this;
  active_ = true;
  for (;;) {
    pool.uses_.fetch_add(one_operation + one_active, std::memory_order_seq_cst);
    const bool forking = waits && begins && must_wait_for_fork();
    const std::uint8_t reached = pool.close_reached_.load(std::memory_order_seq_cst);
    const bool closing =
        waits && !nested && reached < pool.close_wanted_.load(std::memory_order_seq_cst);
    if (!forking && !closing) {
      return;
    }
    // Closing counts what is alive, fork copies all: wait outside. The last to leave closes.
    pool.leave(one_operation + one_active);
    if (forking) {
      wait_for_fork();
    } else {
      pool.close_reached_.wait(reached, std::memory_order_acquire);
    }
  }
}

pool_core::use::~use() {
  pool_.leave(one_operation + one_active);
  innermost_use = outer_;
}

bool pool_core::use::nests() const noexcept {
  for (const use* u = outer_; u != nullptr; u = u->outer_) {
    if (&u->pool_ == &pool_) {
      return true;
    }
  }
  return false;
}

pool_core::own_uses pool_core::uses_of_this_thread() const noexcept {
  own_uses sum;
  for (const use* u = innermost_use; u != nullptr; u = u->outer_) {
    if (&u->pool_ == this) {
      sum.counted += one_operation + (u->active_ ? one_active : 0);
      sum.observing += u->observes_ ? 1 : 0;
    }
  }
  return sum;
}

pool_core::callback::callback(bool observes) noexcept : innermost_(innermost_use) {
  for (use* u = innermost_; u != nullptr && u->active_; u = u->outer_) {
    u->active_ = false;
    u->pool_.uses_.fetch_sub(one_active, std::memory_order_seq_cst);
    last_ = u;
  }
  if (innermost_ != nullptr) {
    innermost_->observes_ = observes;
  }
}

pool_core::callback::~callback() {
  if (innermost_ != nullptr) {
    innermost_->observes_ = false;
  }
  if (last_ == nullptr) {
    return;
  }
  const auto count = [this](std::uint64_t change) {
    for (use* u = innermost_; u != nullptr; u = u == last_ ? nullptr : u->outer_) {
      u->pool_.uses_.fetch_add(change, std::memory_order_seq_cst);
    }
  };
  for (;;) {
    count(one_active);
    if (!must_wait_for_fork()) {
      break;
    }
    count(std::uint64_t{0} - one_active);
    wait_for_fork();
  }
  for (use* u = innermost_; u != nullptr; u = u == last_ ? nullptr : u->outer_) {
    u->active_ = true;
  }
}

// The last operation of a pool that is to be closed closes it: so nobody waits who is waited for,
// not even who closes from a callback. Count and wish are read as one: a count older than the wish
// could miss who began between.
void pool_core::leave(std::uint64_t what) noexcept {
  std::uint64_t now = uses_.load(std::memory_order_seq_cst);
  do {
    while ((what & operations_mask) != 0 && (now & operations_mask) == one_operation &&
           (now & closing_bit) != 0) {
      finish_close();
      now = uses_.load(std::memory_order_seq_cst);
    }
  } while (!uses_.compare_exchange_weak(now, now - what, std::memory_order_seq_cst));
  if (now == what) {
    TIDEPOOL_ASSERT(2, slots.count_taken() == 0);
    delete this;
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
