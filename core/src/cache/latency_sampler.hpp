// SPDX-License-Identifier: Apache-2.0
//
// latency_sampler: what operations cost on average, without a clock per warm operation. A slow
// operation is timed in full and counts once. A warm operation is timed now and then, and a sample
// stands for all operations of its kind that the thread has done since the sample before: a phase
// of the program weighs by what was done in it and not by how often it was sampled.
//
// Warm operations are sent to the slow path to be timed, without an instruction of the warm path:
// the thread closes its own gate (front_cache.hpp), and the slow path, to which its next operation
// comes then, opens the gate again and times the ordinary operation. It closes the gate again until
// an operation of each kind that was asked for has come, or too many of the other kind.
// The carry of a magazine's pop count asks for both kinds, and a slow free asks for a free when
// many were done without a sample. A timed operation that turns out to be slow is no sample of warm
// ones: it has counted itself.
//
// Processors advance their clock in steps of up to 10 ns, which is more than a warm operation
// takes. Sums of many samples are exact nevertheless, if nothing is rounded or cut off before: so
// ticks are summed as they were read, and what timing adds is subtracted from the sum
// (timing_cost.hpp).
//
// Not here: closing and opening the gate (front_cache.hpp).
// Thread safety: a thread_latency is its thread's own, but any thread may read its sums.
#pragma once

#include "cache/timing_cost.hpp"
#include "system/cycle_clock.hpp"
#include <tidepool/statistics.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Operations of a magazine between two samples. Prime: a program that repeats a group of
/// operations is sampled at every place of the group.
inline constexpr std::uint64_t sample_period = 10007;
/// Before the first sample, so that short programs have one.
inline constexpr std::uint64_t first_sample_period = 61;
/// Operations that are let pass, with the gate closed, until one comes that was asked for.
inline constexpr std::uint32_t most_passed = 64;

enum class operation_kind : std::uint8_t { allocate, free };
inline constexpr unsigned operation_kind_count = 2;

/// What is known of the operations of one kind. A plain value.
struct latency_sums {
  std::uint64_t slow_ticks = 0;
  std::uint64_t slow_count = 0;
  std::uint64_t slow_uncounted = 0;  // of these, operations that the pool's counts leave out
  std::uint64_t warm_ticks = 0;      // of samples, each times the operations that it stands for
  std::uint64_t warm_weight = 0;     // operations that samples stand for
  std::uint64_t warm_samples = 0;

  latency_sums& operator+=(const latency_sums& other) noexcept;
};

/// The same, to be added to while others read.
class latency_counters {
 public:
  void add_slow(std::uint64_t ticks, bool counted) noexcept {
    raise(slow_ticks_, ticks);
    raise(slow_count_, 1);
    if (!counted) {
      raise(slow_uncounted_, 1);
    }
  }
  void add_warm(std::uint64_t ticks, std::uint64_t weight) noexcept {
    raise(warm_ticks_, ticks * weight);
    raise(warm_weight_, weight);
    raise(warm_samples_, 1);
  }
  /// As the others, while other threads add.
  void add(const latency_sums& more) noexcept;
  [[nodiscard]] latency_sums sums() const noexcept;

 private:
  // Its only writer adds without a locked instruction.
  static void raise(std::atomic<std::uint64_t>& to, std::uint64_t by) noexcept {
    to.store(to.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  std::atomic<std::uint64_t> slow_ticks_{0};
  std::atomic<std::uint64_t> slow_count_{0};
  std::atomic<std::uint64_t> slow_uncounted_{0};
  std::atomic<std::uint64_t> warm_ticks_{0};
  std::atomic<std::uint64_t> warm_weight_{0};
  std::atomic<std::uint64_t> warm_samples_{0};
};

/// The operations of one thread in one pool.
class thread_latency {
 public:
  /// `operations` were done that no sample stands for yet.
  void pass(operation_kind what, std::uint64_t operations) noexcept {
    unsampled_[index(what)] += operations;
  }
  /// Shall a free be timed? Says so once in a period.
  [[nodiscard]] bool is_free_due() noexcept {
    const bool due = unsampled_[index(operation_kind::free)] >= first_sample_period + later_free_;
    later_free_ += due ? sample_period : 0;
    return due;
  }
  /// A number that takes every value below `most`, in no obvious order.
  [[nodiscard]] std::uint32_t place_below(std::uint32_t most) noexcept {
    return (place_ += 5) % most;
  }

  // Which operations the gate was closed for.
  /// Asks for an operation of this kind. Of those, the first `skipped` pass.
  void want(operation_kind what, std::uint32_t skipped) noexcept {
    wanted_[index(what)] = true;
    skipped_ = skipped;
    passes_left_ = most_passed + skipped;
  }
  void want_none() noexcept { wanted_ = {}; }
  [[nodiscard]] bool wants() const noexcept { return wanted_[0] || wanted_[1]; }
  /// An operation comes to the closed gate. Is it to be timed? Pre: wants().
  [[nodiscard]] bool is_wanted(operation_kind what) noexcept {
    if (passes_left_-- == 0) {
      want_none();
      return false;
    }
    if (!wanted_[index(what)]) {
      return false;
    }
    if (skipped_ != 0) {
      --skipped_;
      return false;
    }
    wanted_[index(what)] = false;
    return true;
  }

  void add_slow(operation_kind what, std::uint64_t ticks, bool counted) noexcept {
    counters_[index(what)].add_slow(ticks, counted);
    ++longer_;
  }
  /// A warm operation asked for samples, which takes longer than the operation: it is none.
  void add_asking() noexcept { ++longer_; }
  /// Does and times a warm operation.
  template <class Clock, class F>
  [[nodiscard]] auto sample(operation_kind what, F&& operation) noexcept {
    const std::uint64_t longer = longer_;
    const std::uint64_t begin = Clock::fenced_now();
    const auto answer = operation();
    const std::uint64_t ticks = Clock::fenced_now() - begin;
    if (longer_ == longer) {
      add_warm(what, ticks);
    }
    return answer;
  }
  /// Callable from any thread.
  [[nodiscard]] latency_sums sums(operation_kind what) const noexcept {
    return counters_[index(what)].sums();
  }

 private:
  [[nodiscard]] static constexpr std::size_t index(operation_kind what) noexcept {
    return static_cast<std::size_t>(what);
  }
  void add_warm(operation_kind what, std::uint64_t ticks) noexcept {
    std::uint64_t& unsampled = unsampled_[index(what)];
    counters_[index(what)].add_warm(ticks, std::max<std::uint64_t>(unsampled, 1));
    unsampled = 0;
    if (what == operation_kind::free) {
      later_free_ = sample_period;
    }
  }
  std::array<latency_counters, operation_kind_count> counters_;
  std::array<std::uint64_t, operation_kind_count> unsampled_{};
  std::uint64_t later_free_ = 0;  // all members begin as 0: the sentinel has them too
  std::uint64_t longer_ = 0;      // operations of either kind that are no samples of warm ones
  std::uint32_t place_ = 0;
  std::uint32_t skipped_ = 0;
  std::uint32_t passes_left_ = 0;
  std::array<bool, operation_kind_count> wanted_{};
};

/// A pool's: the clock, and the operations of threads that have no thread_latency, or had one.
template <class Clock>
class basic_latency_sampler {
 public:
  basic_latency_sampler() noexcept : born_ticks_(Clock::now()), born_ns_(Clock::steady_ns()) {}

  /// A slow operation that began at `begin` ends now. own: the thread's, or null.
  void end_slow(thread_latency* own, operation_kind what, std::uint64_t begin,
                bool counted) noexcept {
    const std::uint64_t ticks = Clock::now() - begin;
    if (own != nullptr) {
      own->add_slow(what, ticks, counted);
    } else {
      of(what).add({.slow_ticks = ticks, .slow_count = 1, .slow_uncounted = counted ? 0U : 1U});
    }
  }
  /// The pool counts an operation that is none of the program's: no mean has it.
  void leave_out(operation_kind what) noexcept {
    of(what).add({.slow_uncounted = std::uint64_t{0} - 1});
  }
  /// A thread ends: its sums stay here.
  void retire(const thread_latency& gone) noexcept {
    of(operation_kind::allocate).add(gone.sums(operation_kind::allocate));
    of(operation_kind::free).add(gone.sums(operation_kind::free));
  }
  [[nodiscard]] latency_sums sums(operation_kind what) const noexcept {
    return kinds_[static_cast<std::size_t>(what)].sums();
  }
  /// The mean of all operations of a kind. counted: how many the pool has counted; of these, all
  /// that were not slow were warm.
  [[nodiscard]] latency mean(const latency_sums& of, std::uint64_t counted,
                             const timing_cost& timing) const noexcept;

 private:
  [[nodiscard]] latency_counters& of(operation_kind what) noexcept {
    return kinds_[static_cast<std::size_t>(what)];
  }
  std::uint64_t born_ticks_;
  std::uint64_t born_ns_;
  std::array<latency_counters, operation_kind_count> kinds_;
};

template <class Clock>
latency basic_latency_sampler<Clock>::mean(const latency_sums& of, std::uint64_t counted,
                                           const timing_cost& timing) const noexcept {
  latency answer;
  answer.samples = of.slow_count + of.warm_samples;
  if (answer.samples == 0) {
    return answer;
  }
  // Threads go on while sums are read: what is slow may be counted here and not there yet.
  const std::uint64_t warm = counted - std::min(counted, of.slow_count - of.slow_uncounted);
  // Few samples may read less than timing adds, and before the first one nothing is known.
  const double each = of.warm_weight == 0
                          ? timing.least
                          : std::max(timing.least, static_cast<double>(of.warm_ticks) /
                                                           static_cast<double>(of.warm_weight) -
                                                       timing.warm);
  const std::uint64_t ticks = Clock::now() - born_ticks_;
  const std::uint64_t ns = Clock::steady_ns() - born_ns_;
  const double ns_per_tick =
      ticks == 0 ? 1.0 : static_cast<double>(ns) / static_cast<double>(ticks);
  // A slow operation comes from a warm one that found nothing.
  const auto slow = static_cast<double>(of.slow_count);
  const double all = slow + static_cast<double>(warm);
  answer.mean_ns =
      ns_per_tick * ((static_cast<double>(of.slow_ticks) + timing.reading * slow) / all + each);
  return answer;
}

using latency_sampler = basic_latency_sampler<cycle_clock>;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
