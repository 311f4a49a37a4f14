// SPDX-License-Identifier: Apache-2.0
//
// access_table: how steps are applied. A kernel does the common case, occurrences of domain
// indices. This file does the steps that must be checked one by one: those with generations or
// weights, and those whose counts may reach UINT64_MAX.
#include "access/table.hpp"
#include <tidepool/assert.hpp>

#include <array>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

bool access_table::is_far() const noexcept {
  // Prefetching costs a little and gains nothing if the table stays in the second-level cache.
  return size_ * sizeof(access_record) > (std::size_t{1} << 20);
}

// Known: an entry takes a step only if it has the generation of the index.
// Careful: counts saturate at UINT64_MAX.
template <bool Known, bool Weighted, bool Careful>
void access_table::apply_each(const access_view& view, std::uint64_t gain,
                              access_report& report) noexcept {
  // Local copies stay in registers: the compiler cannot know that no record overlaps the view or
  // this object.
  access_record* const records = records_;
  const access_view batch = view;
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
void access_table::apply_by_kind(const access_view& view, std::uint64_t gain,
                                 access_report& report) noexcept {
  view.generations != nullptr ? apply_each<true, Weighted, Careful>(view, gain, report)
                              : apply_each<false, Weighted, Careful>(view, gain, report);
}

// Applies occurrences of tensors. A kernel does most of them; it returns the positions of tensors
// whose record is in a domain's table or does not exist, and these are done here.
void access_table::apply_known(const access_view& view, std::uint64_t gain,
                               access_report& report) noexcept {
  TIDEPOOL_ASSERT(1, view.n <= chunk_indices);
  std::array<std::uint32_t, chunk_indices> missed;
  const std::size_t others = how_.kernels->apply_known(
      records_, view.indices, view.generations, view.n,
      {.weight = 1, .gain = gain, .tick = view.tick}, entry_bound, missed.data());
  std::uint64_t stale = 0;
  for (const std::uint32_t i : std::span(missed).first(others)) {
    const access_record& r = records_[view.indices[i]];
    const bool is_bound = r.generation != 0 && r.generation == view.generations[i];
    stale += is_bound && how_.elsewhere->forward(r, 1, view.tick) ? 0U : 1U;
  }
  report.stale += stale;
  report.recorded += view.n - stale;
}

void access_table::apply(const access_view& view, access_report& report) noexcept {
  std::uint64_t sum = view.n;
  if (view.weights != nullptr) {
    sum = 0;
    for (std::size_t i = 0; i < view.n; ++i) {
      sum += view.weights[i];
    }
  }
  const std::uint64_t gain = gain_at(view.tick, sum);
  const bool careful = counts_may_pass(sum);
  if (view.weights != nullptr) {
    careful ? apply_by_kind<true, true>(view, gain, report)
            : apply_by_kind<true, false>(view, gain, report);
  } else if (careful) {
    apply_by_kind<false, true>(view, gain, report);
  } else if (view.generations != nullptr) {
    apply_known(view, gain, report);
  } else {
    const std::size_t stale = how_.kernels->apply(
        records_, view.indices, view.n, {.weight = 1, .gain = gain, .tick = view.tick}, is_far());
    report.stale += stale;
    report.recorded += view.n - stale;
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

// Counting in bins is cheaper than applying steps, and several threads can count at once. Merging
// the bins however reads every record of the table. So it pays off only for dense batches, and only
// while other batches are under way.
bool access_table::count_beside(const access_view& view, const access_report& left_out) noexcept {
  return view.generations == nullptr && view.weights == nullptr && size_ <= most_counted_beside &&
         2 * view.n >= size_ && log_.count(view, size_, left_out);
}

void access_table::drain() noexcept {
  access_report steps;
  const access_log::drained left =
      log_.drain([&](const access_view& view) { apply(view, steps); },
                 [&](std::uint32_t* bins, std::uint64_t sum, std::uint64_t tick) {
                   merge({bins, size_}, sum, tick, steps);
                 });
  note(steps, left.batches);
  note(left.left_out, 0);
  totals.deferred += steps.recorded + steps.stale;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
