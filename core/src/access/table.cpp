// SPDX-License-Identifier: Apache-2.0
//
// access_table: memory, entries, bounds and rebasing. apply.cpp applies the steps.
#include "access/table.hpp"

#include <bit>
#include <new>

namespace tidepool {
inline namespace v0 {
namespace detail {

bool access_table::open(std::size_t size, const settings& how) noexcept {
  how_ = how;
  memory_ = address_space::reserve(size * sizeof(access_record));
  live_memory_ =
      address_space::reserve((size + block_records - 1) / block_records * sizeof(std::uint32_t));
  if (!memory_ || !live_memory_) {
    memory_ = {};
    live_memory_ = {};
    return false;
  }
  if (how.huge_pages) {
    memory_.advise_huge();
  }
  size_ = size;
  records_ = static_cast<access_record*>(memory_.data());
  live_ = static_cast<std::uint32_t*>(live_memory_.data());
  return true;
}

access_table::~access_table() {
  delete[] bins_.load(std::memory_order_relaxed);
  delete[] bits_.load(std::memory_order_relaxed);
}

void access_table::clear() noexcept {
  drain();
  if (!memory_.clear() || !live_memory_.clear()) {
    // The system refused, so this clears by hand all records and counts that may differ from zero.
    std::fill_n(records_, end_, access_record{});
    std::fill_n(live_, (end_ + block_records - 1) / block_records, 0U);
  }
  end_ = 0;
  entries_ = 0;
  count_bound_ = 0;
  careful_ = false;
  score_bound_ = 0;
  delete[] bins_.exchange(nullptr, std::memory_order_acq_rel);
  delete[] bits_.exchange(nullptr, std::memory_order_acq_rel);
}

void access_table::let_others_in() noexcept {
  if (lock_.is_wanted() || log_.has_any()) {
    unlock();
    lock();
  }
}

void access_table::lock_for_fork() noexcept {
  lock_.lock();
  log_.lock_all();
}

void access_table::unlock_after_fork() noexcept {
  log_.unlock_all();
  lock_.unlock();
}

void access_table::begin(std::size_t index, std::uint32_t generation, std::uint32_t attributes,
                         std::uint64_t tick) noexcept {
  access_record& r = records_[index];
  if (r.generation == 0) {
    ++live_[index / block_records];
    ++entries_;
    end_ = std::max(end_, index + 1);
  }
  r = {.count = 0, .tick = tick, .score = 0, .generation = generation, .attributes = attributes};
}

void access_table::end(std::size_t index) noexcept {
  access_record& r = records_[index];
  if (r.generation != 0) {
    --live_[index / block_records];
    --entries_;
    r = {};
  }
}

access_table::figures access_table::read(std::size_t index) const noexcept {
  const access_record& r = records_[index];
  return {.count = r.count, .tick = r.tick, .score = r.score, .exponent = exponent_};
}

void access_table::write(std::size_t index, const figures& moved) noexcept {
  std::uint64_t score = moved.score;
  if (score != 0) {
    if (moved.exponent > exponent_) {
      rebase(moved.exponent);
    }
    const std::uint64_t shift = exponent_ - moved.exponent;
    score = shift > 63 ? 0 : score >> shift;
  }
  access_record& r = records_[index];
  r.count = moved.count;
  r.tick = moved.tick;
  r.score = score;
  count_bound_ = std::max(count_bound_, moved.count);
  score_bound_ = std::max(score_bound_, score);
}

// If all scores are 0, no record needs to change. So the first batch of a table may have any tick
// without paying for a walk.
void access_table::rebase(std::uint64_t exponent) noexcept {
  const std::uint64_t shift = exponent - exponent_;
  exponent_ = exponent;
  if (score_bound_ == 0) {
    return;
  }
  ++totals.rebases;
  const auto shifted = [shift](std::uint64_t score) { return shift > 63 ? 0 : score >> shift; };
  for_each_entry(
      [&](std::size_t i, const access_record&) { records_[i].score = shifted(records_[i].score); });
  score_bound_ = shifted(score_bound_);
}

std::uint64_t access_table::gain_by_exponent(std::uint64_t tick) const noexcept {
  // 2^(j / 64) in 1/65536.
  static constexpr std::array<std::uint32_t, 64> powers{
      65536,  66250,  66971,  67700,  68438,  69183,  69936,  70698,  71468,  72246,  73032,
      73828,  74632,  75444,  76266,  77096,  77936,  78785,  79642,  80510,  81386,  82273,
      83169,  84074,  84990,  85915,  86851,  87796,  88752,  89719,  90696,  91684,  92682,
      93691,  94711,  95743,  96785,  97839,  98905,  99982,  101070, 102171, 103283, 104408,
      105545, 106694, 107856, 109031, 110218, 111418, 112631, 113858, 115098, 116351, 117618,
      118899, 120194, 121502, 122825, 124163, 125515, 126882, 128263, 129660};
  const std::uint64_t whole = tick / how_.half_life;
  // 64 * (tick % half_life) / half_life, without passing 2^64.
  const std::uint64_t past = tick % how_.half_life;
  const std::uint64_t step = how_.half_life >> 6;
  const std::uint64_t j = how_.half_life < (std::uint64_t{1} << 57)
                              ? (past << 6) / how_.half_life
                              : std::min(past / step, std::uint64_t{63});
  const std::uint64_t power = powers[j];
  if (whole >= exponent_) {
    return power << std::min(whole - exponent_, most_exponent);
  }
  return exponent_ - whole > 16 ? 0 : power >> (exponent_ - whole);
}

std::uint64_t access_table::gain_at(std::uint64_t tick, std::uint64_t sum) noexcept {
  if (how_.half_life == 0) {
    return 0;
  }
  const std::uint64_t whole = tick / how_.half_life;
  if (whole > exponent_ && whole - exponent_ > most_exponent) {
    rebase(whole);
  }
  // A batch takes at most 2^-12 of the room, so the table reads its records at most once in 2^12
  // batches.
  constexpr std::uint64_t room = std::uint64_t{1} << 62;
  constexpr std::uint64_t share = room >> 12;
  for (bool is_known = false;;) {
    const std::uint64_t gain = gain_by_exponent(tick);
    std::uint64_t more = 0;
    const bool is_too_much = __builtin_mul_overflow(sum, gain, &more) || more > share;
    if (!is_too_much && score_bound_ <= room - more) {
      score_bound_ += more;
      return gain;
    }
    if (!is_too_much && !is_known) {
      is_known = true;
      std::uint64_t highest = 0;
      for_each_entry(
          [&](std::size_t, const access_record& r) { highest = std::max(highest, r.score); });
      score_bound_ = highest;
    } else {
      rebase(exponent_ + 8);
    }
  }
}

bool access_table::counts_may_pass(std::uint64_t sum) noexcept {
  const auto fits = [&] { return sum < UINT64_MAX - count_bound_; };
  if (!careful_ && !fits()) {
    std::uint64_t highest = 0;
    for_each_entry(
        [&](std::size_t, const access_record& r) { highest = std::max(highest, r.count); });
    count_bound_ = highest;
    careful_ = !fits();
  }
  if (!careful_) {
    count_bound_ += sum;
  }
  return careful_;
}

void access_table::set_for_test(std::size_t index, std::uint64_t count,
                                std::uint64_t score) noexcept {
  records_[index].count = count;
  records_[index].score = score;
  count_bound_ = std::max(count_bound_, count);
  score_bound_ = std::max(score_bound_, score);
}

std::unique_ptr<std::uint32_t[]> access_table::take_bins() noexcept {
  std::uint32_t* kept = bins_.exchange(nullptr, std::memory_order_acq_rel);
  return std::unique_ptr<std::uint32_t[]>(
      kept != nullptr ? kept : new (std::nothrow) std::uint32_t[size_]());
}

void access_table::keep_bins(std::unique_ptr<std::uint32_t[]> zeroed) noexcept {
  std::uint32_t* none = nullptr;
  if (bins_.compare_exchange_strong(none, zeroed.get(), std::memory_order_acq_rel)) {
    (void)zeroed.release();
  }
}

std::unique_ptr<std::uint64_t[]> access_table::take_bits() noexcept {
  std::uint64_t* kept = bits_.exchange(nullptr, std::memory_order_acq_rel);
  return std::unique_ptr<std::uint64_t[]>(
      kept != nullptr ? kept : new (std::nothrow) std::uint64_t[bit_words()]());
}

void access_table::keep_bits(std::unique_ptr<std::uint64_t[]> zeroed) noexcept {
  std::uint64_t* none = nullptr;
  if (bits_.compare_exchange_strong(none, zeroed.get(), std::memory_order_acq_rel)) {
    (void)zeroed.release();
  }
}

const char* access_table::verify() const noexcept {
  std::size_t entries = 0;
  for (std::size_t b = 0; b * block_records < size_; ++b) {
    if (b * block_records >= end_) {
      break;
    }
    std::uint32_t live = 0;
    for (std::size_t i = b * block_records; i < std::min((b + 1) * block_records, size_); ++i) {
      const access_record& r = records_[i];
      live += r.generation != 0 ? 1U : 0U;
      const bool is_plain = (r.attributes & entry_bound) == 0;
      if (r.generation != 0 && is_plain && !careful_ && r.count > count_bound_) {
        return "a count <= the table's bound of counts";
      }
      if (r.generation != 0 && is_plain && r.score > score_bound_) {
        return "a score <= the table's bound of scores";
      }
      if (r.generation != 0 && i >= end_) {
        return "no entry at or behind the table's end";
      }
    }
    if (live != live_[b]) {
      return "entries of a block == records with a generation";
    }
    entries += live;
  }
  return entries == entries_ ? nullptr : "entries of a table == records with a generation";
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
