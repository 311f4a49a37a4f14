// SPDX-License-Identifier: Apache-2.0
//
// access_store: queries. A query takes the locks of the tables one after the other and drains the
// log of each table first. So it sees every batch whose access_tracker::record returned before the
// query began. It sees each table at one moment, but not all tables at the same one. It keeps the
// best k entries in the caller's span, as a heap, and allocates nothing.
#include "access/store.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

template <class T>
[[nodiscard]] int compare(T a, T b) noexcept {
  return a < b ? -1 : a > b ? 1 : 0;
}

// Compares by the order asked for, then by count and tick. The direction of a ranking reverses this
// result, but not that of compare_name.
[[nodiscard]] int compare_use(const access_info& a, const access_info& b,
                              access_order by) noexcept {
  const int by_tick = compare(a.tick, b.tick);
  const int by_count = compare(a.count, b.count);
  const int by_score = compare(a.score, b.score);
  const int first = by == access_order::tick    ? by_tick
                    : by == access_order::count ? by_count
                                                : by_score;
  return first != 0 ? first : by_count != 0 ? by_count : by_tick;
}

[[nodiscard]] int compare_name(const access_info& a, const access_info& b) noexcept {
  if (const int by_id = compare(a.id.value(), b.id.value()); by_id != 0) {
    return by_id;
  }
  if (const int by_part = compare(a.part, b.part); by_part != 0) {
    return by_part;
  }
  const int by_domain = compare(a.bound_to.value(), b.bound_to.value());
  return by_domain != 0 ? by_domain : compare(a.index, b.index);
}

}  // namespace

bool access_store::passes(std::uint32_t attributes, const access_filter& filter) const noexcept {
  if (!filter.categories.contains(category_of_attributes(attributes)) ||
      !filter.lifecycles.contains(lifecycle_of_attributes(attributes))) {
    return false;
  }
  return filter.devices.empty() ||
         std::find(filter.devices.begin(), filter.devices.end(), how_.devices[attributes & 0xff]) !=
             filter.devices.end();
}

double access_store::score_unit(std::uint64_t exponent) const noexcept {
  if (how_.half_life == 0) {
    return 0;
  }
  const double past = static_cast<double>(now()) / static_cast<double>(how_.half_life);
  return std::exp2(static_cast<double>(exponent) - 16.0 - past);
}

access_info access_store::info_of(const access_table& table, const access_record& r,
                                  const owner& whose) const noexcept {
  return {.id = whose.id,
          .part = whose.part,
          .count = r.count,
          .tick = r.tick,
          .score = static_cast<double>(r.score) * score_unit(table.exponent()),
          .where = how_.devices[r.attributes & 0xff],
          .category = category_of_attributes(r.attributes),
          .lifecycle = lifecycle_of_attributes(r.attributes)};
}

access_info access_store::info_of(const divided_tensor& tensor, std::uint32_t part) const noexcept {
  const access_table::figures& kept = tensor.parts[part].kept;
  return {.id = tensor.id,
          .part = part,
          .count = kept.count,
          .tick = kept.tick,
          .score = static_cast<double>(kept.score) * score_unit(kept.exponent),
          .where = how_.devices[tensor.attributes & 0xff],
          .category = category_of_attributes(tensor.attributes),
          .lifecycle = lifecycle_of_attributes(tensor.attributes)};
}

access_info access_store::info_at(const domain_table& in, std::size_t index) const noexcept {
  const owner whose = in.owners != nullptr ? in.owners[index] : owner{{}, whole_tensor, 0};
  access_info info = info_of(in.table, in.table.at(index), whose);
  info.bound_to = name_of_domain(in.number);
  info.index = index;
  return info;
}

result<access_info> access_store::find(tensor_id id, std::uint32_t part) noexcept {
  if (!has_tensors_.load(std::memory_order_acquire)) {
    return errc::not_found;
  }
  if (part == whole_tensor) {
    const std::lock_guard lock(tensors_);
    tensors_.drain();
    if (!is_entry(id)) {
      return errc::not_found;
    }
    const access_record& r = tensors_.at(slot_of(id));
    if ((r.attributes & entry_bound) == 0) {
      return info_of(tensors_, r, {.id = id, .part = part, .unused = 0});
    }
    domain_table& in = domain_at(static_cast<std::uint32_t>(r.count));
    const std::lock_guard domain_lock(in.table);
    in.table.drain();
    return info_at(in, r.tick);
  }
  const std::lock_guard lock(layout_mutex_);
  const divided_tensor* const tensor = find_divided(id);
  if (tensor == nullptr || part >= tensor->parts.size()) {
    return errc::not_found;
  }
  const place where = tensor->parts[part].where;
  if (where.domain == 0) {
    return info_of(*tensor, part);
  }
  domain_table& in = domain_at(where.domain - 1);
  const std::lock_guard domain_lock(in.table);
  in.table.drain();
  return info_at(in, where.index);
}

result<access_info> access_store::find(domain within, std::uint64_t index) noexcept {
  domain_table* const in = find_domain(within);
  if (in == nullptr || index >= in->table.size()) {
    return errc::not_found;
  }
  const std::lock_guard lock(in->table);
  in->table.drain();
  if (!in->table.is_entry(index)) {
    return errc::not_found;
  }
  return info_at(*in, index);
}

template <class Wants, class F>
void access_store::for_each(const access_filter& filter, Wants&& wants, F&& f) noexcept {
  const std::lock_guard lock(layout_mutex_);
  const domain_table* const only = find_domain(filter.within);
  if (only == nullptr && filter.within) {
    return;
  }
  const auto passes_to = [&](const access_record& r, double unit) {
    return passes(r.attributes, filter) &&
           wants(use_figures{r.count, r.tick, static_cast<double>(r.score) * unit,
                             category_of_attributes(r.attributes)});
  };
  // Uses of a bound tensor wait in the log of the tensors' table and move on to a domain's table
  // when it is drained. So the tensors' table comes first.
  if (has_tensors_.load(std::memory_order_acquire)) {
    const std::lock_guard table_lock(tensors_);
    tensors_.drain();
    if (only == nullptr) {
      const double unit = score_unit(tensors_.exponent());
      tensors_.for_each_entry([&](std::size_t slot, const access_record& r) {
        if ((r.attributes & (entry_bound | entry_divided)) == 0 && passes_to(r, unit)) {
          f(info_of(tensors_, r, {.id = id_at(slot), .part = whole_tensor, .unused = 0}));
        }
      });
    }
  }
  for (std::uint32_t d = 0; d < domain_count_.load(std::memory_order_acquire); ++d) {
    domain_table& in = domain_at(d);
    if (in.dropped.load(std::memory_order_relaxed) || (only != nullptr && only != &in)) {
      continue;
    }
    const std::lock_guard table_lock(in.table);
    in.table.drain();
    const double unit = score_unit(in.table.exponent());
    in.table.for_each_entry([&](std::size_t index, const access_record& r) {
      if (passes_to(r, unit)) {
        f(info_at(in, index));
      }
    });
  }
  for (const auto& [slot, tensor] : divided_) {
    for (std::uint32_t p = 0; only == nullptr && p < tensor.parts.size(); ++p) {
      if (tensor.parts[p].where.domain != 0 || !passes(tensor.attributes, filter)) {
        continue;
      }
      const access_info info = info_of(tensor, p);
      if (wants(use_figures{info.count, info.tick, info.score, info.category})) {
        f(info);
      }
    }
  }
}

access_selection access_store::select(std::span<access_info> best, const ranking& how,
                                      const access_filter& filter) noexcept {
  // Does a come before b?
  const auto precedes = [&](const access_info& a, const access_info& b) {
    const int use = compare_use(a, b, how.by);
    return use != 0 ? (use < 0) != how.descending : compare_name(a, b) < 0;
  };
  access_selection done;
  // Could the entry be among the best? Most entries fail this cheap test.
  const auto wants = [&](const use_figures& use) {
    if (how.older_than && use.tick >= *how.older_than) {
      return false;
    }
    ++done.found;
    if (done.written < best.size() || best.empty()) {
      return !best.empty();
    }
    const access_info& last = best.front();
    const int by = how.by == access_order::tick    ? compare(use.tick, last.tick)
                   : how.by == access_order::count ? compare(use.count, last.count)
                                                   : compare(use.score, last.score);
    return by == 0 || (by < 0) != how.descending;
  };
  for_each(filter, wants, [&](const access_info& info) {
    const auto begin = best.begin();
    if (done.written < best.size()) {
      best[done.written++] = info;
      std::push_heap(begin, begin + static_cast<std::ptrdiff_t>(done.written), precedes);
    } else if (precedes(info, best.front())) {
      std::pop_heap(begin, best.end(), precedes);
      best.back() = info;
      std::push_heap(begin, best.end(), precedes);
    }
  });
  std::sort_heap(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(done.written), precedes);
  return done;
}

std::array<category_accesses, 256> access_store::by_category(const access_filter& filter) noexcept {
  std::array<category_accesses, 256> sums{};
  const auto add = [&](const use_figures& use) {
    category_accesses& sum = sums[static_cast<std::uint8_t>(use.category)];
    ++sum.entries;
    if (__builtin_add_overflow(sum.count, use.count, &sum.count)) {
      sum.count = UINT64_MAX;
    }
    return false;
  };
  for_each(filter, add, [](const access_info&) {});
  return sums;
}

access_ages access_store::ages(const access_filter& filter) noexcept {
  access_ages answer{.now = now()};
  const auto add = [&](const use_figures& use) {
    const std::uint64_t age = answer.now - std::min(answer.now, use.tick);
    ++answer.entries[std::bit_width(age)];
    return false;
  };
  for_each(filter, add, [](const access_info&) {});
  return answer;
}

std::size_t access_store::count(const access_filter& filter) noexcept {
  std::size_t entries = 0;
  const auto add = [&](const use_figures&) {
    ++entries;
    return false;
  };
  for_each(filter, add, [](const access_info&) {});
  return entries;
}

access_totals access_store::totals() noexcept {
  access_totals sum;
  const auto add = [&sum](access_table& table) {
    const std::lock_guard lock(table);
    table.drain();
    const access_totals& one = table.totals;
    sum.batches += one.batches;
    sum.recorded += one.recorded;
    sum.padding += one.padding;
    sum.masked += one.masked;
    sum.out_of_range += one.out_of_range;
    sum.stale += one.stale;
    sum.duplicates += one.duplicates;
    sum.deferred += one.deferred;
    sum.saturated += one.saturated;
    sum.rebases += one.rebases;
  };
  if (has_tensors_.load(std::memory_order_acquire)) {
    add(tensors_);
  }
  for (std::uint32_t d = 0; d < domain_count_.load(std::memory_order_acquire); ++d) {
    add(domain_at(d).table);
  }
  return sum;
}

std::size_t access_store::tracked() noexcept {
  if (!has_tensors_.load(std::memory_order_acquire)) {
    return 0;
  }
  const std::lock_guard lock(tensors_);
  return tensors_.entries();
}

const char* access_store::verify(tracked_test is_tracked, const void* context) noexcept {
  const std::lock_guard lock(layout_mutex_);
  const char* broken = nullptr;
  const auto require = [&](bool holds, const char* invariant) {
    if (!holds && broken == nullptr) {
      broken = invariant;
    }
  };
  const auto element_is = [&](const place& where, tensor_id id, std::uint32_t part) {
    domain_table& in = domain_at(where.domain - 1);
    const std::lock_guard domain_lock(in.table);
    return in.table.is_entry(where.index) && in.owners[where.index].id == id &&
           in.owners[where.index].part == part;
  };
  std::size_t places = 0;
  std::size_t with_parts = 0;
  if (has_tensors_.load(std::memory_order_acquire)) {
    const std::lock_guard tensors_lock(tensors_);
    tensors_.drain();
    if (const char* const theirs = tensors_.verify()) {
      broken = theirs;
    }
    tensors_.for_each_entry([&](std::size_t slot, const access_record& r) {
      const tensor_id id = id_at(slot);
      require(is_tracked(context, id, r.attributes & all_attributes),
              "an access entry is one of a live tracked tensor, with its attributes");
      if ((r.attributes & entry_bound) != 0) {
        ++places;
        require(element_is({.domain = static_cast<std::uint32_t>(r.count) + 1,
                            .index = static_cast<std::uint32_t>(r.tick)},
                           id, whole_tensor),
                "a bound tensor's element is bound to it");
      }
      const divided_tensor* const tensor = find_divided(id);
      require((tensor != nullptr) == ((r.attributes & entry_divided) != 0),
              "a divided tensor has parts");
      with_parts += tensor != nullptr ? 1 : 0;
      for (std::uint32_t p = 0; tensor != nullptr && p < tensor->parts.size(); ++p) {
        if (tensor->parts[p].where.domain != 0) {
          ++places;
          require(element_is(tensor->parts[p].where, id, p),
                  "a bound part's element is bound to it");
        }
      }
    });
  }
  require(with_parts == divided_.size(), "parts belong to a live tensor");
  std::size_t bound = 0;
  for (std::uint32_t d = 0; d < domain_count_.load(std::memory_order_acquire); ++d) {
    domain_table& in = domain_at(d);
    const std::lock_guard domain_lock(in.table);
    in.table.drain();
    if (const char* const theirs = in.table.verify()) {
      require(false, theirs);
    }
    bound += in.owners != nullptr ? in.table.entries() : 0;
  }
  require(bound == places, "bound elements == entries that are bound");
  return broken;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
