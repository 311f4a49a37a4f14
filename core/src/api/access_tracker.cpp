// SPDX-License-Identifier: Apache-2.0
//
// access_tracker: each function forwards to the pool's access store.
#include "access/store.hpp"
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"
#include <tidepool/access_tracker.hpp>

namespace tidepool {
inline namespace v0 {

errc access_tracker::track(tensor_id id, std::uint32_t parts) noexcept {
  return detail::track(*core_, id, parts);
}

result<domain> access_tracker::make_domain(const domain_options& options) noexcept {
  return core_->accesses->make_domain(options);
}

errc access_tracker::drop_domain(domain which) noexcept {
  return core_->accesses->drop_domain(which);
}

errc access_tracker::bind(domain to, std::size_t first, std::span<const tensor_id> ids) noexcept {
  return core_->accesses->bind(to, first, ids);
}

errc access_tracker::bind_parts(domain to, std::size_t first, tensor_id id,
                                part_range parts) noexcept {
  return core_->accesses->bind_parts(to, first, id, parts);
}

result<access_report> access_tracker::record(const access_batch& batch) noexcept {
  return core_->accesses->record(batch);
}

void access_tracker::flush() noexcept {
  core_->accesses->flush();
}

result<access_info> access_tracker::info(tensor_id id, std::uint32_t part) const noexcept {
  return core_->accesses->find(id, part);
}

result<access_info> access_tracker::info(domain within, std::uint64_t index) const noexcept {
  return core_->accesses->find(within, index);
}

std::size_t access_tracker::coldest(std::span<access_info> out, access_order by,
                                    const access_filter& filter) const noexcept {
  return core_->accesses->select(out, {.by = by}, filter).written;
}

std::size_t access_tracker::hottest(std::span<access_info> out, access_order by,
                                    const access_filter& filter) const noexcept {
  return core_->accesses->select(out, {.by = by, .descending = true}, filter).written;
}

access_selection access_tracker::older_than(std::uint64_t tick, std::span<access_info> out,
                                            const access_filter& filter) const noexcept {
  return core_->accesses->select(out, {.older_than = tick}, filter);
}

std::vector<access_info> access_tracker::ranked(access_order by,
                                                const access_filter& filter) const {
  // Entries that other threads make meanwhile may be left out.
  std::vector<access_info> all(core_->accesses->count(filter));
  all.resize(coldest(all, by, filter));
  return all;
}

std::array<category_accesses, 256> access_tracker::by_category(
    const access_filter& filter) const noexcept {
  return core_->accesses->by_category(filter);
}

access_ages access_tracker::age_histogram(const access_filter& filter) const noexcept {
  return core_->accesses->ages(filter);
}

access_totals access_tracker::totals() const noexcept {
  return core_->accesses->totals();
}

void access_tracker::prefetch(std::span<const tensor_id> ids, std::size_t bytes) const noexcept {
  detail::prefetch(*core_, ids, bytes);
}

void access_tracker::set_predictor(access_predictor* predictor) noexcept {
  core_->accesses->set_predictor(predictor);
}

}  // namespace v0
}  // namespace tidepool
