// SPDX-License-Identifier: Apache-2.0
//
// access_table: one dense table of access records, its lock, its log, and the bounds that keep its
// sums exact. It knows indices only; the access_store knows whose entries they are.
//
// No sum passes 2^64 unnoticed, although no kernel checks for it. The table keeps one upper bound
// of all counts and one of all scores, and adds each batch's sum of weights to both. Only if a
// bound would pass its limit, the table reads the records to find the true maximum. If scores are
// then still too high, it shifts all of them (a rebase). If a count is still too high, it goes on
// with the careful kernel, which saturates.
//
// Thread safety: the caller of a member holds the lock, unless the member's comment says otherwise.
#pragma once

#include "access/chunk.hpp"
#include "access/lock.hpp"
#include "access/log.hpp"
#include "system/address_space.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace detail {

// Flags of a record's attributes.
inline constexpr std::uint32_t entry_bound = std::uint32_t{1} << 24;  // lives at a domain's element
inline constexpr std::uint32_t entry_divided = std::uint32_t{1} << 25;  // has parts

/// The scalar kernels. All others compute the same results.
extern const access_kernels scalar_access_kernels;

class access_table {
 public:
  /// Takes steps for entries of this table whose records live elsewhere (entry_bound).
  class forwarding {
   public:
    /// Called with the table's lock held. False: the entry has no record elsewhere any more.
    virtual bool forward(const access_record& from, std::uint32_t weight,
                         std::uint64_t tick) noexcept = 0;

   protected:
    ~forwarding() = default;
  };
  struct settings {
    const access_kernels* kernels = &scalar_access_kernels;
    std::uint64_t half_life = 0;  // ticks; 0: no scores
    bool huge_pages = true;
    forwarding* elsewhere = nullptr;  // of batches with generations
  };

  /// Makes room for `size` records, none of them an entry. Call it before all other members. False:
  /// there is no address space.
  [[nodiscard]] bool open(std::size_t size, const settings& how) noexcept;
  /// Ends all entries and gives the memory back; the table stays usable.
  void clear() noexcept;

  // The lock. The caller of these members need not hold it.
  [[nodiscard]] bool try_lock() noexcept { return lock_.try_lock(); }
  void lock() noexcept { lock_.lock(); }
  /// Drains the log, which may have been filled meanwhile, and unlocks.
  void unlock() noexcept {
    if (log_.has_any()) {
      drain();
    }
    lock_.unlock();
  }
  /// Gives waiting threads a turn at the lock during long work. Values read before may have changed
  /// afterwards.
  void let_others_in() noexcept;
  [[nodiscard]] access_log& log() noexcept { return log_; }
  void lock_for_fork() noexcept;
  void unlock_after_fork() noexcept;

  /// size() never changes; no lock is needed.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] const access_kernels& kernels() const noexcept { return *how_.kernels; }

  // Entries.
  void begin(std::size_t index, std::uint32_t generation, std::uint32_t attributes,
             std::uint64_t tick) noexcept;
  void end(std::size_t index) noexcept;
  [[nodiscard]] bool is_entry(std::size_t index) const noexcept {
    return records_[index].generation != 0;
  }
  [[nodiscard]] access_record& at(std::size_t index) noexcept { return records_[index]; }
  [[nodiscard]] const access_record& at(std::size_t index) const noexcept {
    return records_[index];
  }

  /// An entry's figures on their way to another table. Their score is score * 2^exponent.
  struct figures {
    std::uint64_t count = 0;
    std::uint64_t tick = 0;
    std::uint64_t score = 0;
    std::uint64_t exponent = 0;
  };
  [[nodiscard]] figures read(std::size_t index) const noexcept;
  /// Writes them over an entry's own.
  void write(std::size_t index, const figures& moved) noexcept;

  // Batches.
  /// A step for each index. Adds to `report`: recorded and stale.
  void apply(const access_view& view, access_report& report) noexcept;
  /// Adds bins[i] occurrences of each index i < bins.size() and sets the bins to 0. Pre: `sum` is
  /// the sum of the bins. Counts that a device made come in this way, too.
  void merge(std::span<std::uint32_t> bins, std::uint64_t sum, std::uint64_t tick,
             access_report& report) noexcept;
  /// Leaves a dense batch of indices, as counts, to the thread that drains next. The caller need
  /// not hold the lock. False: nothing was done.
  [[nodiscard]] bool count_beside(const access_view& view, const access_report& left_out) noexcept;
  /// Adds the batches that other threads left in the log.
  void drain() noexcept;

  /// Lend a buffer of size() zeroed bins, or of bits, to one call at a time. Null: there is no
  /// memory. The caller need not hold the lock.
  [[nodiscard]] std::unique_ptr<std::uint32_t[]> take_bins() noexcept;
  void keep_bins(std::unique_ptr<std::uint32_t[]> zeroed) noexcept;
  [[nodiscard]] std::unique_ptr<std::uint64_t[]> take_bits() noexcept;
  void keep_bits(std::unique_ptr<std::uint64_t[]> zeroed) noexcept;
  [[nodiscard]] std::size_t bit_words() const noexcept { return (size_ + 63) / 64; }

  /// Adds the report of batches to the totals.
  void note(const access_report& report, std::uint64_t batches) noexcept;
  access_totals totals;
  /// A score stands for score * 2^exponent; the exponent counts half-lives.
  [[nodiscard]] std::uint64_t exponent() const noexcept { return exponent_; }

  /// Calls f(index, record) for every entry in ascending order and keeps the lock meanwhile.
  template <class F>
  void for_each_entry(F&& f) const {
    for (std::size_t b = 0; b * block_records < end_; ++b) {
      if (live_[b] == 0) {
        continue;
      }
      const std::size_t last = std::min((b + 1) * block_records, end_);
      for (std::size_t i = b * block_records; i < last; ++i) {
        if (records_[i].generation != 0) {
          f(i, std::as_const(records_[i]));
        }
      }
    }
  }
  [[nodiscard]] std::size_t entries() const noexcept { return entries_; }

  /// Null, or the first broken invariant in words.
  [[nodiscard]] const char* verify() const noexcept;

  /// For tests: sets the figures of an entry, and the bounds, near their limits.
  void set_for_test(std::size_t index, std::uint64_t count, std::uint64_t score) noexcept;

 private:
  static constexpr std::size_t block_records = 1024;
  static constexpr std::size_t most_counted_beside = 16384;  // records of a table
  // Half-lives that a table goes on before it shifts its scores.
  static constexpr std::uint64_t most_exponent = 32;

  /// Returns what one unit of weight adds to a score now. It rebases if that is needed.
  [[nodiscard]] std::uint64_t gain_at(std::uint64_t tick, std::uint64_t sum) noexcept;
  [[nodiscard]] std::uint64_t gain_by_exponent(std::uint64_t tick) const noexcept;
  void rebase(std::uint64_t exponent) noexcept;
  [[nodiscard]] bool counts_may_pass(std::uint64_t sum) noexcept;
  template <bool Known, bool Weighted, bool Careful>
  void apply_each(const access_view& view, std::uint64_t gain, access_report& report) noexcept;
  template <bool Weighted, bool Careful>
  void apply_by_kind(const access_view& view, std::uint64_t gain, access_report& report) noexcept;
  void apply_known(const access_view& view, std::uint64_t gain, access_report& report) noexcept;
  [[nodiscard]] bool is_far() const noexcept;

  access_lock lock_;
  access_log log_;
  settings how_;
  std::size_t size_ = 0;
  address_space memory_;
  address_space live_memory_;
  access_record* records_ = nullptr;
  std::uint32_t* live_ = nullptr;  // entries in each block of records
  std::size_t end_ = 0;            // no index at or behind it ever was an entry
  std::size_t entries_ = 0;
  std::uint64_t count_bound_ = 0;  // >= each count, or the table is careful
  bool careful_ = false;           // some count is near UINT64_MAX
  std::uint64_t score_bound_ = 0;  // >= each score
  std::uint64_t exponent_ = 0;
  std::atomic<std::uint32_t*> bins_{nullptr};
  std::atomic<std::uint64_t*> bits_{nullptr};

 public:
  access_table() = default;
  access_table(const access_table&) = delete;
  access_table& operator=(const access_table&) = delete;
  ~access_table();
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
