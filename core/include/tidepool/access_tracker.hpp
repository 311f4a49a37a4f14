// SPDX-License-Identifier: Apache-2.0
//
// access_tracker: how the tensors of a pool and their parts are used, recorded in batches and asked
// by age, count or score. access.hpp has the values that go in and come out.
//
//   tidepool::access_tracker accesses = pool.accesses();
//   accesses.record({.where = experts, .indices = routed, .tick = step});
//   accesses.coldest(victims, access_order::tick, {.categories = {category::expert}});
//
// A handle of one pointer, to be passed by value. It is valid as long as the pool is, also when the
// pool is moved meanwhile, and owns nothing. A const handle only reads.
//
// Thread safety: every function may be called by any number of threads at once, except
// set_predictor, as said there.
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
  /// Gives a tensor an entry, and parts != 0 entries of its parts, which then stand for it in
  /// queries. Repeating it changes nothing. Errors: stale_id, invalid_argument (it has another
  /// number of parts, or is bound), out_of_memory.
  errc track(tensor_id id, std::uint32_t parts = 0) noexcept;
  /// A new domain. Errors: invalid_argument, unknown_device, out_of_memory, too_many (1024 domains
  /// were made so far).
  /// Cost: standalone elements are written, the others' memory is only reserved (48 bytes each).
  [[nodiscard]] result<domain> make_domain(const domain_options& options) noexcept;
  /// Its elements are bound to nothing any more; their counts stay with their entries. Error:
  /// not_found.
  errc drop_domain(domain which) noexcept;
  /// Elements first, first + 1, ... stand for these tensors from now on, for none where an id is
  /// empty. An entry that was at another element leaves that one. Batches recorded before count for
  /// the entries that the elements had then, whose counts stay with them. All or nothing: stale_id,
  /// not_found, invalid_argument (beyond the domain, standalone, a tensor with parts).
  /// Cost: waits for batches that other threads are adding to these tables.
  errc bind(domain to, std::size_t first, std::span<const tensor_id> ids) noexcept;
  /// Elements stand for parts of one tensor from now on; all else is as for bind above.
  errc bind_parts(domain to, std::size_t first, tensor_id id, part_range parts = {}) noexcept;
  /// Adds what was used to the entries. What could not be added is counted in the answer and
  /// changes nothing. Errors, after which nothing was recorded: invalid_argument (sizes that do not
  /// fit together), not_found (no such domain), out_of_memory (for the bits that mode once needs).
  /// Threads never wait for each other with up to 1024 ids, unless the log (64 KiB for each eighth
  /// of the threads) is full. Cost: one uncontended lock and about 1 ns for each id, see
  /// core/README.md.
  result<access_report> record(const access_batch& batch) noexcept;
  /// Adds at once what threads left for each other. Queries do it by themselves.
  void flush() noexcept;
  /// What is known of one entry. This and all other queries see every batch whose record returned
  /// before. Error: not_found (no entry).
  [[nodiscard]] result<access_info> info(tensor_id id,
                                         std::uint32_t part = whole_tensor) const noexcept;
  [[nodiscard]] result<access_info> info(domain within, std::uint64_t index) const noexcept;
  /// The first out.size() entries in order, coldest or hottest first. Answers how many were
  /// written. Cost: a look at every entry (4 to 6 ns by tick, see bench/README.md), more for each
  /// that enters the best so far or equals the last of them in the order; nothing is allocated.
  [[nodiscard]] std::size_t coldest(std::span<access_info> out,
                                    access_order by = access_order::tick,
                                    const access_filter& filter = {}) const noexcept;
  [[nodiscard]] std::size_t hottest(std::span<access_info> out,
                                    access_order by = access_order::tick,
                                    const access_filter& filter = {}) const noexcept;
  /// Entries last used before `tick`: how many, and the coldest of them.
  [[nodiscard]] access_selection older_than(std::uint64_t tick, std::span<access_info> out,
                                            const access_filter& filter = {}) const noexcept;
  /// All entries, coldest first. Throws std::bad_alloc.
  [[nodiscard]] std::vector<access_info> ranked(access_order by,
                                                const access_filter& filter = {}) const;
  /// Entries and their counts, by number of category.
  [[nodiscard]] std::array<category_accesses, 256> by_category(
      const access_filter& filter = {}) const noexcept;
  [[nodiscard]] access_ages age_histogram(const access_filter& filter = {}) const noexcept;
  [[nodiscard]] access_totals totals() const noexcept;
  /// Fetches the first bytes of these tensors' data into this processor's cache, where it can read
  /// them; dead ids are ignored. A hint.
  void prefetch(std::span<const tensor_id> ids, std::size_t bytes = 64) const noexcept;
  /// Null detaches. Pre: no other thread records meanwhile.
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
