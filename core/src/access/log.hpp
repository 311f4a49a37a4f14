// SPDX-License-Identifier: Apache-2.0
//
// access_log: holds batches that found their table's lock taken, until the holder of that lock adds
// them (flat combining). Its size is bounded. A log has a few stripes with a lock each, and every
// thread always uses the same stripe. So many threads can append at once, and the log needs no list
// of threads, which would have to follow their starts and ends and fork.
//
// Thread safety: all members may be called at once.
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
  /// Stores a batch. `left_out` counts its ids that are not among the indices; the drain returns
  /// it. False: there is no room, or no memory for the first use of the stripe, and nothing
  /// changed.
  [[nodiscard]] bool append(const access_view& view, const access_report& left_out) noexcept;
  /// Counts the indices of a batch in bins instead of storing them. This suits batches that are
  /// dense in their table of `size` records: merging bins later costs less than applying indices.
  /// False, too, if the stripe has counts of another tick, or too many counts.
  [[nodiscard]] bool count(const access_view& view, std::size_t size,
                           const access_report& left_out) noexcept;
  /// True: some earlier append or count is not drained yet.
  [[nodiscard]] bool has_any() const noexcept {
    return filled_.load(std::memory_order_acquire) != 0;
  }
  struct drained {
    access_report left_out;
    std::uint64_t batches = 0;
  };
  /// Calls f(const access_view&) for each stored batch and g(bins, sum, tick) for the counts of
  /// each stripe. Returns the number of batches and the ids that they left out. Pre: the caller
  /// holds the table's lock, so only one drain runs at a time, and g sets the bins to 0.
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
        add(sum.left_out, from.kept.left_out);
        sum.batches += from.kept.batches;
        from.kept = {};
      }
    }
    return sum;
  }
  // For fork: between these two calls no other thread is inside a stripe.
  void lock_all() noexcept;
  void unlock_all() noexcept;

 private:
  static constexpr std::size_t stripe_count = 8;
  // Counts 32-bit words: indices, generations, weights and headers.
  static constexpr std::size_t stripe_words = 16384;
  // The sum of a stripe's bins stays below this, so that no bin passes 2^32.
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
  void keep(stripe& target, const access_report& left_out) noexcept;
  /// The view that begins at `at`, which moves behind it.
  [[nodiscard]] static access_view read(const stripe& from, std::size_t& at) noexcept;

  std::array<stripe, stripe_count> stripes_;
  std::atomic<std::uint32_t> filled_{0};  // bit i: stripe i may hold something
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
