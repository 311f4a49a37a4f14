// SPDX-License-Identifier: Apache-2.0
//
// access_tracker: how the tensors of a pool and their parts are used, recorded in batches and asked
// by age, count or score. access.hpp has the values that go in and come out.
//
//   tidepool::access_tracker accesses = pool.accesses();
//   accesses.record({.where = experts, .indices = routed, .tick = step});
//   accesses.coldest(victims, access_order::tick, {.categories = {category::expert}});
//
// The handle is one pointer: pass it by value. It owns nothing and is valid as long as the pool,
// also after the pool is moved. A const handle only reads.
//
// Thread safety: every function may be called by any number of threads at once, except
// set_predictor, whose comment says when.
#pragma once

#include <tidepool/access.hpp>
#include <tidepool/attributes.hpp>
#include <tidepool/export.hpp>
#include <tidepool/ids.hpp>
#include <tidepool/pool.hpp>
#include <tidepool/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tidepool {
inline namespace v0 {

class TIDEPOOL_EXPORT access_tracker {
 public:
  /// Gives a tensor an entry and, if parts != 0, gives each of that many parts an entry as well;
  /// queries then see the parts instead of the tensor. A second call changes nothing. Errors:
  /// stale_id, invalid_argument (the tensor has another number of parts, or is bound),
  /// out_of_memory.
  errc track(tensor_id id, std::uint32_t parts = 0) noexcept;
  /// Makes a domain. Errors: invalid_argument, unknown_device, out_of_memory, too_many (1024
  /// domains were made so far). Cost: the call writes each standalone element; for all others it
  /// only reserves memory (48 bytes each).
  [[nodiscard]] result<domain> make_domain(const domain_options& options) noexcept;
  /// Removes a domain. Its entries keep their counts and stand at no element any more. Error:
  /// not_found.
  errc drop_domain(domain which) noexcept;
  /// Binds elements first, first + 1, ... to these tensors; an empty id unbinds its element. A
  /// tensor that stood at another element leaves that element. Earlier batches counted for the
  /// entries that the elements had then, and those entries keep the counts. Errors, after which no
  /// element has changed: stale_id, not_found, invalid_argument (beyond the domain, standalone, a
  /// tensor with parts). Cost: waits for batches that other threads are adding to these tables.
  errc bind(domain to, std::size_t first, std::span<const tensor_id> ids) noexcept;
  /// Binds elements to parts of one tensor; everything else is as for bind.
  errc bind_parts(domain to, std::size_t first, tensor_id id, part_range parts = {}) noexcept;
  /// Adds the uses of a batch to the entries. The report counts the ids that could not be added;
  /// they change nothing. Errors, after which nothing was recorded: invalid_argument (sizes that do
  /// not fit together), not_found (no such domain), out_of_memory (for the bits that mode once
  /// needs). Cost: one uncontended lock and about 1 ns for each id, see core/src/access/README.md.
  /// Threads that record up to 1024 ids never wait for each other, unless the log (64 KiB for each
  /// eighth of the threads) is full.
  result<access_report> record(const access_batch& batch) noexcept;
  /// Adds all batches that threads left in the logs. Queries do so by themselves.
  void flush() noexcept;
  /// Returns one entry. Like every query, it sees each batch whose record returned before the query
  /// began. Error: not_found (no entry).
  [[nodiscard]] result<access_info> info(tensor_id id,
                                         std::uint32_t part = whole_tensor) const noexcept;
  [[nodiscard]] result<access_info> info(domain within, std::uint64_t index) const noexcept;
  /// Writes the first out.size() entries of the order, coldest or hottest first. Returns how many
  /// it wrote. Cost: reads every entry (4 to 6 ns each by tick, see bench/FIGURES.md). An entry
  /// costs more if it is among the best so far, or equals the last of them in the order. The call
  /// allocates nothing.
  [[nodiscard]] std::size_t coldest(std::span<access_info> out,
                                    access_order by = access_order::tick,
                                    const access_filter& filter = {}) const noexcept;
  [[nodiscard]] std::size_t hottest(std::span<access_info> out,
                                    access_order by = access_order::tick,
                                    const access_filter& filter = {}) const noexcept;
  /// Counts the entries last used before `tick` and writes the coldest of them.
  [[nodiscard]] access_selection older_than(std::uint64_t tick, std::span<access_info> out,
                                            const access_filter& filter = {}) const noexcept;
  /// Returns all entries, coldest first. Throws std::bad_alloc.
  [[nodiscard]] std::vector<access_info> ranked(access_order by,
                                                const access_filter& filter = {}) const;
  /// Returns the number of entries and the sum of their counts, indexed by category.
  [[nodiscard]] std::array<category_accesses, 256> by_category(
      const access_filter& filter = {}) const noexcept;
  [[nodiscard]] access_ages age_histogram(const access_filter& filter = {}) const noexcept;
  [[nodiscard]] access_totals totals() const noexcept;
  /// Prefetches the first bytes of these tensors' data into this processor's cache. This is a hint:
  /// it skips dead ids and memory that the processor cannot read.
  void prefetch(std::span<const tensor_id> ids, std::size_t bytes = 64) const noexcept;
  /// Attaches a predictor, which is told of each batch; null detaches it. Pre: no other thread
  /// records meanwhile.
  void set_predictor(access_predictor* predictor) noexcept;

 private:
  friend class pool;
  explicit access_tracker(detail::pool_core* core) noexcept : core_(core) {}
  detail::pool_core* core_;
};

inline access_tracker pool::accesses() const noexcept {
  return access_tracker{core_};
}

}  // namespace v0
}  // namespace tidepool
