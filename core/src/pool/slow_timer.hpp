// SPDX-License-Identifier: Apache-2.0
//
// slow_timer: times one slow operation in full, for the latency statistics. An operation that is
// made within another one, in a callback, is timed by itself, and its time is also a part of the
// outer one's: the program waited for both.
// Thread safety: an object of one thread's stack, inside an operation of the pool.
#pragma once

#include "cache/front_cache.hpp"
#include "cache/latency_sampler.hpp"

#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

class slow_timer {
 public:
  /// cache: the calling thread's, null: it has none. begin: the cycle clock where the operation
  /// began.
  slow_timer(latency_sampler& sampler, front_cache* cache, operation_kind what,
             std::uint64_t begin) noexcept
      : sampler_(sampler), cache_(cache), what_(what), begin_(begin) {
    // A gate that was closed for a sample would keep this operation out of its own cache.
    if (cache_ != nullptr) {
      (void)cache_->open_after_sample();
    }
  }
  ~slow_timer() {
    sampler_.end_slow(cache_ == nullptr ? nullptr : &cache_->latency, what_, begin_, counted_);
    if (cache_ != nullptr) {
      cache_->close_for_sample();
    }
  }
  slow_timer(const slow_timer&) = delete;
  slow_timer& operator=(const slow_timer&) = delete;

  /// The pool counts this operation among those of its blocks.
  void count() noexcept { counted_ = true; }

 private:
  latency_sampler& sampler_;
  front_cache* const cache_;
  const operation_kind what_;
  const std::uint64_t begin_;
  bool counted_ = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
