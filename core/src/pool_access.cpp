// SPDX-License-Identifier: Apache-2.0
//
// Where a pool meets its access_store: entries begin and end with tracked tensors. And the pool's
// members about accesses, which forward.
#include "access_store.hpp"
#include "change_header.hpp"
#include "pool_core.hpp"
#include <tidepool/environment.hpp>
#include <tidepool/pool.hpp>

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace detail {

void pool_core::make_access_store() {
  access_store::settings how{.slots = slots.capacity(),
                             .pool_tag = tag_,
                             .half_life = options_.access_half_life,
                             .keys = &keys_,
                             .devices = {},
                             .huge_pages = !environment_flag("no_huge_pages")};
  for (const std::unique_ptr<device_entry>& entry : devices_) {
    how.devices.push_back(entry->where);
  }
  for (const std::unique_ptr<backend>& source : backends_) {
    if (const access_kernels* const kernels = source->kernels_for_access()) {
      how.kernels = kernels;
      break;
    }
  }
  accesses_ = std::make_unique<access_store>(std::move(how));
}

tensor_flags pool_core::begin_entry(const record& slot, tensor_id id, lifecycle state,
                                    tensor_flags flags) noexcept {
  if (!any(flags & tensor_flags::tracked)) {
    return flags;
  }
  const std::uint32_t attributes = make_attributes(
      lane_of(slot).device->number, category_of(slot.tag.load(std::memory_order_relaxed)), state);
  // Without room for the table the tensor is as good as any, and not tracked.
  return accesses_->begin(id, attributes) ? flags : flags & ~tensor_flags::tracked;
}

// Others may change the tensor at the same time: whoever comes last writes what is true then.
void pool_core::refresh_entry(tensor_id id) noexcept {
  const record& r = slots.at(id.value());
  const auto current = [&]() -> std::optional<std::uint32_t> {
    const std::uint64_t header = r.header.load(std::memory_order_acquire);
    if (!slots.is_live(r, header, id.value()) || !any(flags_of(header) & tensor_flags::tracked)) {
      return std::nullopt;
    }
    return make_attributes(0, category_of(r.tag.load(std::memory_order_acquire)),
                           lifecycle_of(header));
  };
  for (std::optional<std::uint32_t> seen = current(); seen;) {
    accesses_->set_attributes(id, category_attribute | lifecycle_attribute, *seen);
    if (const auto now = current(); now == seen) {
      return;
    } else {
      seen = now;
    }
  }
}

errc pool_core::track(tensor_id id, std::uint32_t parts) noexcept {
  const use guard(*this);
  tensor_info info;
  if (!read(id, info)) {
    return report(misuse_kind::stale_use, id);
  }
  if (!any(info.flags & tensor_flags::tracked)) {
    const std::uint32_t attributes = make_attributes(lane_of(slots.at(id.value())).device->number,
                                                     info.category, info.lifecycle);
    if (!accesses_->begin(id, attributes)) {
      return errc::out_of_memory;
    }
    // The entry is there before the flag: who frees the tensor after it was flagged ends the entry.
    const errc why = change_header(id, [](std::uint64_t& header) {
      header |= bits_of(tensor_flags::tracked);
      return errc::ok;
    });
    if (why != errc::ok) {
      accesses_->end(id);
      return why;
    }
    refresh_entry(id);
  }
  return parts == 0 ? errc::ok : accesses_->divide(id, parts);
}

void pool_core::prefetch(std::span<const tensor_id> ids, std::size_t bytes) const noexcept {
  constexpr std::size_t group = 32;
  for (std::size_t at = 0; at < ids.size(); at += group) {
    const auto some = ids.subspan(at, std::min(group, ids.size() - at));
    for (const tensor_id id : some) {
      __builtin_prefetch(&slots.at(id.value()));
    }
    for (const tensor_id id : some) {
      tensor_info info;
      if (!read(id, info) || !info.where.is_host()) {
        continue;
      }
      const auto* const data = static_cast<const std::byte*>(info.data);
      for (std::size_t i = 0; i < std::min(bytes, info.bytes); i += cache_line) {
        __builtin_prefetch(data + i);
      }
    }
  }
}

const char* pool_core::verify_entries() noexcept {
  const auto is_tracked = [](const void* context, tensor_id id, std::uint32_t attributes) {
    const auto& core = *static_cast<const pool_core*>(context);
    tensor_info info;
    return core.read(id, info) && any(info.flags & tensor_flags::tracked) &&
           attributes ==
               make_attributes(core.find_device(info.where)->number, info.category, info.lifecycle);
  };
  if (const char* const broken = accesses_->verify(is_tracked, this)) {
    return broken;
  }
  std::size_t tracked = 0;
  slots.for_each_taken([&](const record&, std::uint64_t header) {
    tracked += any(flags_of(header) & tensor_flags::tracked) ? 1 : 0;
  });
  return tracked == accesses_->tracked() ? nullptr : "tracked tensors == access entries of tensors";
}

}  // namespace detail

errc pool::track(tensor_id id, std::uint32_t parts) noexcept {
  return core_->track(id, parts);
}

result<domain> pool::make_domain(const domain_options& options) noexcept {
  return core_->accesses().make_domain(options);
}

errc pool::drop_domain(domain which) noexcept {
  return core_->accesses().drop_domain(which);
}

errc pool::bind(domain to, std::size_t first, std::span<const tensor_id> ids) noexcept {
  return core_->accesses().bind(to, first, ids);
}

errc pool::bind_parts(domain to, std::size_t first, tensor_id id, part_range parts) noexcept {
  return core_->accesses().bind_parts(to, first, id, parts);
}

result<access_report> pool::record_access(const access_batch& batch) noexcept {
  return core_->accesses().record(batch);
}

void pool::flush_access() noexcept {
  core_->accesses().flush();
}

result<access_info> pool::access(tensor_id id, std::uint32_t part) const noexcept {
  return core_->accesses().find(id, part);
}

result<access_info> pool::access(domain within, std::uint64_t index) const noexcept {
  return core_->accesses().find(within, index);
}

std::size_t pool::coldest(std::span<access_info> out, access_order by,
                          const access_filter& filter) const noexcept {
  return core_->accesses().select(out, {.by = by}, filter).written;
}

std::size_t pool::hottest(std::span<access_info> out, access_order by,
                          const access_filter& filter) const noexcept {
  return core_->accesses().select(out, {.by = by, .descending = true}, filter).written;
}

access_selection pool::older_than(std::uint64_t tick, std::span<access_info> out,
                                  const access_filter& filter) const noexcept {
  return core_->accesses().select(out, {.older_than = tick}, filter);
}

std::vector<access_info> pool::ranked(access_order by, const access_filter& filter) const {
  // Entries that others make meanwhile may be left out.
  std::vector<access_info> all(core_->accesses().count(filter));
  all.resize(coldest(all, by, filter));
  return all;
}

std::array<category_accesses, 256> pool::accesses_by_category(
    const access_filter& filter) const noexcept {
  return core_->accesses().by_category(filter);
}

access_ages pool::age_histogram(const access_filter& filter) const noexcept {
  return core_->accesses().ages(filter);
}

access_totals pool::total_accesses() const noexcept {
  return core_->accesses().totals();
}

void pool::prefetch(std::span<const tensor_id> ids, std::size_t bytes) const noexcept {
  core_->prefetch(ids, bytes);
}

void pool::set_access_predictor(access_predictor* predictor) noexcept {
  core_->accesses().set_predictor(predictor);
}

}  // namespace v0
}  // namespace tidepool
