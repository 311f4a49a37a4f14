// SPDX-License-Identifier: Apache-2.0
//
// The C interface: queries of access entries. c_access.cpp has the recording.
#include "access/store.hpp"
#include "api/c_api.hpp"
#include <tidepool/access.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

static_assert(static_cast<int>(access_order::score) == TIDEPOOL_ORDER_SCORE);

// Bits 1 .. lifecycle_count.
constexpr std::uint64_t lifecycle_bits = (std::uint64_t{2} << lifecycle_count) - 2;

[[nodiscard]] tidepool_access_info info_to_c(const access_info& info) noexcept {
  return {.size = sizeof(tidepool_access_info),
          .id = info.id.value(),
          .bound_to = info.bound_to.value(),
          .index = info.index,
          .count = info.count,
          .tick = info.tick,
          .score = info.score,
          .part = info.part,
          .where = info.where.bits(),
          .category = static_cast<tidepool_category>(info.category),
          .lifecycle = to_c(info.lifecycle),
          .reserved = 0,
          .reserved_too = 0};
}

// Pre: `devices` lives as long as `to`. Throws what a vector throws.
[[nodiscard]] tidepool_status read_filter(const tidepool_access_filter* from,
                                          std::vector<device>& devices, access_filter& to) {
  tidepool_access_filter known{};
  if (from == nullptr) {
    return TIDEPOOL_OK;
  }
  if (!read_c_struct(from, known)) {
    return bad_struct();
  }
  // A set of unknown lifecycles would become the empty set, which stands for all of them.
  if ((known.lifecycles & ~lifecycle_bits) != 0) {
    return fail(errc::invalid_argument, "a filter has a bit of no lifecycle");
  }
  to.within = domain::from_value(known.within);
  for (unsigned c = 0; c < 256; ++c) {
    if ((known.categories[c / 64] >> (c % 64) & 1) != 0) {
      to.categories.insert(static_cast<category>(c));
    }
  }
  for (unsigned s = 1; s <= lifecycle_count; ++s) {
    if ((known.lifecycles >> s & 1) != 0) {
      to.lifecycles.insert(lifecycle_from_c(static_cast<tidepool_lifecycle>(s)));
    }
  }
  for (std::size_t i = 0; known.devices != nullptr && i < known.device_count; ++i) {
    devices.push_back(device::from_bits(known.devices[i]));
  }
  to.devices = devices;
  return TIDEPOOL_OK;
}

// Calls ask(const access_filter&), which may throw if memory runs out.
template <class F>
[[nodiscard]] tidepool_status with_filter(const tidepool_access_filter* from, F&& ask) noexcept {
  try {
    std::vector<device> devices;
    access_filter chosen;
    if (const tidepool_status why = read_filter(from, devices, chosen); why != TIDEPOOL_OK) {
      return why;
    }
    ask(chosen);
    return TIDEPOOL_OK;
  } catch (const std::exception&) {
    return fail(errc::out_of_memory, "a query's answer");
  }
}

/// The first check of a function that writes its answer to an array: is there a pool, and room for
/// *count elements?
template <class T>
[[nodiscard]] tidepool_status check_array(const tidepool_pool* pool, const T* out,
                                          const std::size_t* count) noexcept {
  if (pool == nullptr || count == nullptr || (out == nullptr && *count != 0)) {
    return null_argument();
  }
  return *count == 0 || is_writable(out) ? TIDEPOOL_OK : bad_struct();
}

/// Writes the caller's element i; they lie `apart` bytes apart. Pre: apart == out->size.
template <class T>
void write_element(const T& from, T* out, std::size_t apart, std::size_t i) noexcept {
  auto* const to = reinterpret_cast<unsigned char*>(out) + i * apart;
  std::memcpy(to, &apart, sizeof apart);
  write_c_struct(from, reinterpret_cast<T*>(to));
}

// The caller's places for an answer.
struct ranked_answer {
  tidepool_access_info* out = nullptr;
  std::size_t* count = nullptr;
  std::size_t* found = nullptr;  // null: the caller does not want it
};

[[nodiscard]] tidepool_status rank(const tidepool_pool* pool, const access_store::ranking& how,
                                   const tidepool_access_filter* filter,
                                   const ranked_answer& to) noexcept {
  if (const tidepool_status why = check_array(pool, to.out, to.count); why != TIDEPOOL_OK) {
    return why;
  }
  if (how.by > access_order::score) {
    return fail(errc::invalid_argument, "no such order");
  }
  return with_filter(filter, [&](const access_filter& chosen) {
    access_store& entries = *pool->core->accesses;
    // The buffer is no larger than the number of entries.
    std::vector<access_info> best(*to.count == 0 ? 0 : std::min(*to.count, entries.count(chosen)));
    const access_selection done = entries.select(best, how, chosen);
    const std::size_t apart = done.written == 0 ? 0 : to.out->size;
    for (std::size_t i = 0; i < done.written; ++i) {
      write_element(info_to_c(best[i]), to.out, apart, i);
    }
    *to.count = done.written;
    if (to.found != nullptr) {
      *to.found = done.found;
    }
  });
}

[[nodiscard]] access_order order_from_c(std::uint32_t order) noexcept {
  return static_cast<access_order>(std::min<std::uint32_t>(order, 255));
}

[[nodiscard]] tidepool_status write_info(const result<access_info>& found,
                                         tidepool_access_info* out) noexcept {
  if (!found) {
    return record_error(found.error());
  }
  write_c_struct(info_to_c(*found), out);
  return TIDEPOOL_OK;
}

}  // namespace
}  // namespace detail
}  // namespace v0
}  // namespace tidepool

using namespace tidepool;          // NOLINT: the functions below are outside of all namespaces
using namespace tidepool::detail;  // NOLINT

tidepool_status tidepool_access_of(const tidepool_pool* pool, tidepool_tensor_id id,
                                   std::uint32_t part, tidepool_access_info* out) {
  if (const tidepool_status why = check_answer(pool, out); why != TIDEPOOL_OK) {
    return why;
  }
  return write_info(pool->core->accesses->find(tensor_id::from_value(id), part), out);
}

tidepool_status tidepool_access_at(const tidepool_pool* pool, tidepool_domain within,
                                   std::uint64_t index, tidepool_access_info* out) {
  if (const tidepool_status why = check_answer(pool, out); why != TIDEPOOL_OK) {
    return why;
  }
  return write_info(pool->core->accesses->find(domain::from_value(within), index), out);
}

tidepool_status tidepool_coldest(const tidepool_pool* pool, std::uint32_t order,
                                 const tidepool_access_filter* filter, tidepool_access_info* out,
                                 std::size_t* count) {
  return rank(pool, {.by = order_from_c(order)}, filter, {.out = out, .count = count});
}

tidepool_status tidepool_hottest(const tidepool_pool* pool, std::uint32_t order,
                                 const tidepool_access_filter* filter, tidepool_access_info* out,
                                 std::size_t* count) {
  return rank(pool, {.by = order_from_c(order), .descending = true}, filter,
              {.out = out, .count = count});
}

tidepool_status tidepool_older_than(const tidepool_pool* pool, std::uint64_t tick,
                                    const tidepool_access_filter* filter, tidepool_access_info* out,
                                    std::size_t* count, std::size_t* found) {
  return rank(pool, {.older_than = tick}, filter, {.out = out, .count = count, .found = found});
}

tidepool_status tidepool_accesses_by_category(const tidepool_pool* pool,
                                              const tidepool_access_filter* filter,
                                              tidepool_category_accesses* out, std::size_t* count) {
  if (const tidepool_status why = check_array(pool, out, count); why != TIDEPOOL_OK) {
    return why;
  }
  return with_filter(filter, [&](const access_filter& chosen) {
    const auto sums = pool->core->accesses->by_category(chosen);
    *count = std::min(*count, sums.size());
    const std::size_t apart = *count == 0 ? 0 : out->size;
    for (std::size_t c = 0; c < *count; ++c) {
      write_element(tidepool_category_accesses{.size = sizeof(tidepool_category_accesses),
                                               .entries = sums[c].entries,
                                               .count = sums[c].count},
                    out, apart, c);
    }
  });
}

tidepool_status tidepool_age_histogram(const tidepool_pool* pool,
                                       const tidepool_access_filter* filter,
                                       tidepool_access_ages* out) {
  if (const tidepool_status why = check_answer(pool, out); why != TIDEPOOL_OK) {
    return why;
  }
  return with_filter(filter, [&](const access_filter& chosen) {
    const access_ages ages = pool->core->accesses->ages(chosen);
    tidepool_access_ages answer{
        .size = sizeof(tidepool_access_ages), .now = ages.now, .entries = {}};
    static_assert(sizeof answer.entries == sizeof ages.entries);
    std::copy(ages.entries.begin(), ages.entries.end(), answer.entries);
    write_c_struct(answer, out);
  });
}

tidepool_status tidepool_total_accesses(const tidepool_pool* pool, tidepool_access_totals* out) {
  if (const tidepool_status why = check_answer(pool, out); why != TIDEPOOL_OK) {
    return why;
  }
  const access_totals sums = pool->core->accesses->totals();
  write_c_struct(tidepool_access_totals{.size = sizeof(tidepool_access_totals),
                                        .batches = sums.batches,
                                        .recorded = sums.recorded,
                                        .padding = sums.padding,
                                        .masked = sums.masked,
                                        .out_of_range = sums.out_of_range,
                                        .stale = sums.stale,
                                        .duplicates = sums.duplicates,
                                        .deferred = sums.deferred,
                                        .saturated = sums.saturated,
                                        .rebases = sums.rebases},
                 out);
  return TIDEPOOL_OK;
}
