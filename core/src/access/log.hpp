// SPDX-License-Identifier: Apache-2.0
//
// access_log: batches that found their table's lock taken, until the lock's holder adds them (flat
// combining). Bounded. A log has a few stripes, each with a lock of its own, and a thread keeps to
// one: so threads that are many still append side by side, and none has to be registered, ended or
// inherited over fork. Thread safety: all members may be called at once.
#pragma once

#include "access/chunk.hpp"
#include "access/lock.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

class access_log {
 public:
  /// False: no room, or no memory for the stripe's first use; nothing changed. `rest` is what the
  /// batch holds besides: it comes out with the drain.
  [[nodiscard]] bool append(const access_view& what, const access_report& rest) noexcept;
  /// The same for indices alone, which are only counted: for batches that are dense in their table
  /// of `size` records, so that adding bins later costs less than adding indices. False, too, if
  /// the stripe has counts of another tick, or many.
  [[nodiscard]] bool count(const access_view& what, std::size_t size,
                           const access_report& rest) noexcept;
  /// True: some append or count that happened before is not drained yet.
  [[nodiscard]] bool has_any() const noexcept {
    return filled_.load(std::memory_order_acquire) != 0;
  }
  struct drained {
    access_report rest;
    std::uint64_t batches = 0;
  };
  /// Calls f(const access_view&) for all that was appended, g(bins, sum, tick) for what was
  /// counted, and returns what came with it. Pre: the table's lock is held: one drain at a time;
  /// g leaves the bins at 0.
  template <class F, class G>
  drained drain(F&& f, G&& g) noexcept {
    drained sum;
    std::uint32_t filled = filled_.exchange(0, std::memory_order_acq_rel);
    for (std::size_t i = 0; filled != 0; ++i, filled >>= 1) {
      if ((filled & 1) != 0) {
        stripe& from = stripes_[i];
        const std::lock_guard lock(from.mutex);
        for (std::size_t at = 0; at < from.used;) {
          f(read(from, at));
        }
        from.used = 0;
        if (from.counted != 0) {
          g(from.bins.get(), from.counted, from.bins_tick);
          from.counted = 0;
        }
        add(sum.rest, from.kept.rest);
        sum.batches += from.kept.batches;
        from.kept = {};
      }
    }
    return sum;
  }
  // For fork: nobody is inside a stripe between these.
  void lock_all() noexcept;
  void unlock_all() noexcept;

 private:
  static constexpr std::size_t stripe_count = 8;
  // Of 32-bit words: indices, generations, weights, headers.
  static constexpr std::size_t stripe_words = 16384;
  // Sums of bins stay below, so that no bin passes 2^32.
  static constexpr std::uint64_t most_counted = std::uint64_t{1} << 24;
  struct header {
    std::uint64_t tick;
    std::uint32_t n;
    std::uint32_t arrays;  // 1: generations, 2: weights
  };
  static constexpr std::size_t header_words = sizeof(header) / sizeof(std::uint32_t);

  struct alignas(64) stripe {
    access_lock mutex;
    std::unique_ptr<std::uint32_t[]> words;  // guarded by mutex
    std::size_t used = 0;                    // guarded by mutex; <= stripe_words
    drained kept;                            // guarded by mutex
    // Also guarded by mutex: occurrences of each index, all at one tick.
    std::unique_ptr<std::uint32_t[]> bins;
    std::uint64_t counted = 0;  // sum of the bins
    std::uint64_t bins_tick = 0;
  };
  [[nodiscard]] stripe& own_stripe() noexcept;
  void keep(stripe& of, const access_report& rest) noexcept;
  /// The view that begins at `at`, which moves behind it.
  [[nodiscard]] static access_view read(const stripe& from, std::size_t& at) noexcept;

  std::array<stripe, stripe_count> stripes_;
  std::atomic<std::uint32_t> filled_{0};  // bit i: stripe i may hold something
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
