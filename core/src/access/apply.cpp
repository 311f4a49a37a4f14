// SPDX-License-Identifier: Apache-2.0
//
// access_table: steps. The common case, occurrences of domain indices, is a kernel's; what needs a
// look at each step (generations, weights, counts near their end) is here.
#include "access/table.hpp"
#include <tidepool/assert.hpp>

#include <array>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

bool access_table::is_far() const noexcept {
  // Fetching ahead costs a little where the table stays in the second cache.
  return size_ * sizeof(access_record) > (std::size_t{1} << 20);
}

// Known: only if the generation is the index's. Careful: counts stop at their end.
template <bool Known, bool Weighted, bool Careful>
void access_table::apply_each(const access_view& what, std::uint64_t gain,
                              access_report& report) noexcept {
  // In registers: for all the compiler knows, a record may lie over the view or this.
  access_record* const records = records_;
  const access_view batch = what;
  std::uint64_t stale = 0;
  for (std::size_t i = 0; i < batch.n; ++i) {
    __builtin_prefetch(&records[batch.indices[i + access_lookahead - 1]], 1);
    access_record& r = records[batch.indices[i]];
    const std::uint32_t weight = Weighted ? batch.weights[i] : 1;
    if (r.generation == 0 || (Known && r.generation != batch.generations[i])) {
      ++stale;
      continue;
    }
    if (Known && (r.attributes & entry_bound) != 0) [[unlikely]] {
      stale += how_.elsewhere->forward(r, weight, batch.tick) ? 0U : 1U;
      continue;
    }
    if (Careful && weight >= UINT64_MAX - r.count) {
      totals.saturated += r.count != UINT64_MAX ? 1 : 0;
      r.count = UINT64_MAX;
    } else {
      r.count += weight;
    }
    if (gain != 0) {
      r.score += weight * gain;
    }
    r.tick = r.tick < batch.tick ? batch.tick : r.tick;
  }
  report.stale += stale;
  report.recorded += batch.n - stale;
}

template <bool Weighted, bool Careful>
void access_table::apply_by_kind(const access_view& what, std::uint64_t gain,
                                 access_report& report) noexcept {
  what.generations != nullptr ? apply_each<true, Weighted, Careful>(what, gain, report)
                              : apply_each<false, Weighted, Careful>(what, gain, report);
}

// Occurrences of tensors: a kernel's, but for those that live elsewhere or not at all.
void access_table::apply_known(const access_view& what, std::uint64_t gain,
                               access_report& report) noexcept {
  TIDEPOOL_ASSERT(1, what.n <= chunk_indices);
  std::array<std::uint32_t, chunk_indices> missed;
  const std::size_t others = how_.kernels->apply_known(
      records_, what.indices, what.generations, what.n,
      {.weight = 1, .gain = gain, .tick = what.tick}, entry_bound, missed.data());
  std::uint64_t stale = 0;
  for (const std::uint32_t i : std::span(missed).first(others)) {
    const access_record& r = records_[what.indices[i]];
    const bool is_bound = r.generation != 0 && r.generation == what.generations[i];
    stale += is_bound && how_.elsewhere->forward(r, 1, what.tick) ? 0U : 1U;
  }
  report.stale += stale;
  report.recorded += what.n - stale;
}

void access_table::apply(const access_view& what, access_report& report) noexcept {
  std::uint64_t sum = what.n;
  if (what.weights != nullptr) {
    sum = 0;
    for (std::size_t i = 0; i < what.n; ++i) {
      sum += what.weights[i];
    }
  }
  const std::uint64_t gain = gain_at(what.tick, sum);
  const bool careful = counts_may_pass(sum);
  if (what.weights != nullptr) {
    careful ? apply_by_kind<true, true>(what, gain, report)
            : apply_by_kind<true, false>(what, gain, report);
  } else if (careful) {
    apply_by_kind<false, true>(what, gain, report);
  } else if (what.generations != nullptr) {
    apply_known(what, gain, report);
  } else {
    const std::size_t stale = how_.kernels->apply(
        records_, what.indices, what.n, {.weight = 1, .gain = gain, .tick = what.tick}, is_far());
    report.stale += stale;
    report.recorded += what.n - stale;
  }
}

void access_table::merge(std::span<std::uint32_t> bins, std::uint64_t sum, std::uint64_t tick,
                         access_report& report) noexcept {
  const std::uint64_t gain = gain_at(tick, sum);
  if (!counts_may_pass(sum)) {
    const std::uint64_t stale = how_.kernels->merge(records_, bins.data(), bins.size(),
                                                    {.weight = 1, .gain = gain, .tick = tick});
    report.stale += stale;
    report.recorded += sum - stale;
    return;
  }
  for (std::size_t i = 0; i < bins.size(); ++i) {
    if (bins[i] == 0) {
      continue;
    }
    access_report steps;
    std::array<std::uint32_t, 1 + access_lookahead> index{};
    index.fill(static_cast<std::uint32_t>(i));
    apply_each<false, true, true>(
        {.indices = index.data(), .weights = &bins[i], .n = 1, .tick = tick}, gain, steps);
    report.recorded += steps.recorded * bins[i];
    report.stale += steps.stale * bins[i];
    bins[i] = 0;
  }
}

void access_table::note(const access_report& report, std::uint64_t batches) noexcept {
  totals.batches += batches;
  totals.recorded += report.recorded;
  totals.padding += report.padding;
  totals.masked += report.masked;
  totals.out_of_range += report.out_of_range;
  totals.stale += report.stale;
  totals.duplicates += report.duplicates;
}

// Counts in bins are cheaper than steps, and threads make them beside each other, but adding them
// looks at every record: worth it where batches are dense, and others are under way.
bool access_table::count_beside(const access_view& what, const access_report& rest) noexcept {
  return what.generations == nullptr && what.weights == nullptr && size_ <= most_counted_beside &&
         2 * what.n >= size_ && log_.count(what, size_, rest);
}

void access_table::drain() noexcept {
  access_report steps;
  const access_log::drained left =
      log_.drain([&](const access_view& what) { apply(what, steps); },
                 [&](std::uint32_t* bins, std::uint64_t sum, std::uint64_t tick) {
                   merge({bins, size_}, sum, tick, steps);
                 });
  note(steps, left.batches);
  note(left.rest, 0);
  totals.deferred += steps.recorded + steps.stale;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
