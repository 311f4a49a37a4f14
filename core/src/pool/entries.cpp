// SPDX-License-Identifier: Apache-2.0
//
// Access entries begin and end with tracked tensors, and their attributes follow the records.
#include "pool/entries.hpp"

#include "access/store.hpp"
#include "pool/pool_core.hpp"
#include <tidepool/environment.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace detail {

std::unique_ptr<access_store> make_access_store(const pool_core& core) {
  access_store::settings how{.slots = core.directory.slots.capacity(),
                             .pool_tag = core.directory.slots.pool_tag(),
                             .half_life = core.settings.access_half_life,
                             .keys = &core.directory.keys,
                             .devices = {},
                             .huge_pages = !environment_flag("no_huge_pages")};
  for (const std::unique_ptr<device_entry>& entry : core.lanes.devices()) {
    how.devices.push_back(entry->where);
  }
  for (const std::unique_ptr<backend>& source : core.lanes.backends()) {
    if (const access_kernels* const kernels = source->kernels_for_access()) {
      how.kernels = kernels;
      break;
    }
  }
  return std::make_unique<access_store>(std::move(how));
}

tensor_flags begin_entry(pool_core& core, tensor_id id, lifecycle state,
                         tensor_flags flags) noexcept {
  if (!any(flags & tensor_flags::tracked)) {
    return flags;
  }
  const record& slot = core.directory.slots.at(id.value());
  const std::uint32_t attributes =
      make_attributes(core.lanes.of(slot).device->number,
                      category_of(slot.tag.load(std::memory_order_relaxed)), state);
  // If there is no room for the table, the tensor is made all the same, but not tracked.
  return core.accesses->begin(id, attributes) ? flags : flags & ~tensor_flags::tracked;
}

// Other threads may change the tensor at the same time. So each thread reads the record again after
// it wrote the entry and repeats until both agree; the last one to write leaves the true
// attributes.
void refresh_entry(pool_core& core, tensor_id id) noexcept {
  const record& r = core.directory.slots.at(id.value());
  const auto current = [&]() -> std::optional<std::uint32_t> {
    const std::uint64_t header = r.header.load(std::memory_order_acquire);
    if (!core.directory.slots.is_live(r, header, id.value()) ||
        !any(flags_of(header) & tensor_flags::tracked)) {
      return std::nullopt;
    }
    return make_attributes(0, category_of(r.tag.load(std::memory_order_acquire)),
                           lifecycle_of(header));
  };
  for (std::optional<std::uint32_t> seen = current(); seen;) {
    core.accesses->set_attributes(id, category_attribute | lifecycle_attribute, *seen);
    if (const auto now = current(); now == seen) {
      return;
    } else {
      seen = now;
    }
  }
}

errc track(pool_core& core, tensor_id id, std::uint32_t parts) noexcept {
  const operation guard(core);
  const std::optional<tensor_info> info = core.directory.read(id);
  if (!info) {
    return core.report_misuse(misuse_kind::stale_use, id);
  }
  if (!any(info->flags & tensor_flags::tracked)) {
    const std::uint32_t attributes =
        make_attributes(core.lanes.of(core.directory.slots.at(id.value())).device->number,
                        info->category, info->lifecycle);
    if (!core.accesses->begin(id, attributes)) {
      return errc::out_of_memory;
    }
    // The entry exists before the flag is set, so a thread that frees the flagged tensor also ends
    // the entry.
    const errc why = core.change_header(id, [](std::uint64_t& header) {
      header |= bits_of(tensor_flags::tracked);
      return errc::ok;
    });
    if (why != errc::ok) {
      core.accesses->end(id);
      return why;
    }
    refresh_entry(core, id);
  }
  return parts == 0 ? errc::ok : core.accesses->divide(id, parts);
}

void prefetch(const pool_core& core, std::span<const tensor_id> ids, std::size_t bytes) noexcept {
  constexpr std::size_t group = 32;
  for (std::size_t at = 0; at < ids.size(); at += group) {
    const auto some = ids.subspan(at, std::min(group, ids.size() - at));
    for (const tensor_id id : some) {
      __builtin_prefetch(&core.directory.slots.at(id.value()));
    }
    for (const tensor_id id : some) {
      const std::optional<tensor_info> info = core.directory.read(id);
      if (!info || !info->where.is_host()) {
        continue;
      }
      const auto* const data = static_cast<const std::byte*>(info->data);
      for (std::size_t i = 0; i < std::min(bytes, info->bytes); i += cache_line) {
        __builtin_prefetch(data + i);
      }
    }
  }
}

const char* verify_entries(pool_core& core) noexcept {
  const auto is_tracked = [](const void* context, tensor_id id, std::uint32_t attributes) {
    const auto& pool = *static_cast<const pool_core*>(context);
    const std::optional<tensor_info> info = pool.directory.read(id);
    return info && any(info->flags & tensor_flags::tracked) &&
           attributes == make_attributes(pool.lanes.find(info->where)->number, info->category,
                                         info->lifecycle);
  };
  if (const char* const broken = core.accesses->verify(is_tracked, &core)) {
    return broken;
  }
  std::size_t tracked = 0;
  core.directory.slots.for_each_taken([&](const record&, std::uint64_t header) {
    tracked += any(flags_of(header) & tensor_flags::tracked) ? 1 : 0;
  });
  return tracked == core.accesses->tracked() ? nullptr
                                             : "tracked tensors == access entries of tensors";
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
