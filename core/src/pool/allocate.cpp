// SPDX-License-Identifier: Apache-2.0
//
// Allocation in general: finds a lane and a block for a checked request, fills the record and
// publishes it. The plain warm case never comes here.
#include "debug/layer.hpp"
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"
#include "pool/slow_timer.hpp"
#include "pool/this_thread.hpp"
#include <tidepool/detail/allocate.hpp>
#include <tidepool/error.hpp>

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

[[nodiscard]] raw_tensor failed(errc code) noexcept {
  return {reinterpret_cast<void*>(static_cast<std::uintptr_t>(code)), {}};
}

// Returns the properties that a block must have for the request.
[[nodiscard]] block_demand demand_of(const pool_core& core, const allocation_request& request,
                                     lane& where, const footprint& asked) noexcept {
  block_demand demand = demand_for(where, core.footprint_of(*where.device, asked));
  demand.requested = request.bytes;
  demand.missed = request.missed;
  // KV caches that grow by concatenation live long, but each of their blocks does not.
  demand.long_lived =
      request.lifecycle == lifecycle::persistent && request.category != category::kv_cache;
  return demand;
}

// Notes the stream and enters the key of the tensor that is to be made in the slot. All steps that
// can fail are here, before the block changes, so a failure leaves nothing behind.
[[nodiscard]] status claim_notes(directory& known, allocation_request& request,
                                 record& slot) noexcept {
  if (request.used_by != nullptr) {
    if (!known.uses_elsewhere.add(known.index_of(slot), request.used_by->number)) {
      return {.code = errc::out_of_memory, .text = "no memory to note the stream"};
    }
    request.flags = request.flags | tensor_flags::used_elsewhere;
  }
  const status why = known.claim_key(request.key, slot);
  if (!why.ok()) {
    (void)known.uses_elsewhere.take(known.index_of(slot));
  }
  return why;
}

// Turns a free slot into the tensor. The observer is not told yet.
[[nodiscard]] raw_tensor publish(pool_core& core, record& slot, const allocation_request& request,
                                 const footprint& asked) noexcept {
  const std::uint64_t id = next_id(slot.header.load(std::memory_order_relaxed));
  if (core.debug != nullptr) [[unlikely]] {
    core.begin_checked(slot, tensor_id::from_value(id), asked);
  }
  slot.bytes.store(request.bytes, std::memory_order_release);
  slot.tag.store(make_tag(request.name, request.category, core.lanes.of(slot).tag_number()),
                 std::memory_order_release);
  const tensor_flags flags =
      begin_entry(core, tensor_id::from_value(id), request.lifecycle, request.flags);
  const bool plain = request.lifecycle == lifecycle::temporary && flags == tensor_flags::none;
  slot.header.store(plain ? id : full_header(id, 1, request.lifecycle, flags),
                    std::memory_order_release);
  return {slot.data.load(std::memory_order_relaxed), tensor_id::from_value(id)};
}

}  // namespace

raw_tensor pool_core::allocate(allocation_request request) noexcept {
  const std::uint64_t begin = cycle_clock::now();
  const operation guard(*this);
  const auto fail = [&](const status& why) {
    incidents.failed(why);
    return failed(why.code);
  };
  if (request.cache == nullptr && !is_closed()) {
    request.cache = attach_this_thread(caches);
  }
  slow_timer timer(caches.sampler, request.cache, operation_kind::allocate, begin);
  const result<lane*> found = check_request(request);
  if (!found) {
    return fail(found.error());
  }
  lane& where = **found;
  if (request.bytes == 0) {
    const loose_tensor empty{.tag = make_tag(request.name, request.category, where.tag_number()),
                             .state = request.lifecycle,
                             .flags = request.flags};
    const result<raw_tensor> made = make_loose(where, request.key, empty);
    return made ? *made : fail(made.error());
  }
  if (where.device->is_for_host() && !request.stream.is_none()) {
    // If the tensor ends without naming a stream, it ends in the order of this stream.
    const result<lane*> user = lane_for(*where.device, request.stream, request.cache);
    if (!user) {
      return fail(user.error());
    }
    request.used_by = *user;
  }
  const footprint asked{request.bytes, std::max(request.alignment, where.device->alignment)};
  const obtained got = obtain(demand_of(*this, request, where, asked), request.cache);
  if (got.slot == nullptr) {
    if (got.why.code == errc::not_found && where.stream().kind == stream_kind::ordinary) {
      retire_recycled(where);
      return allocate(request);
    }
    return fail(got.why);
  }
  if (const status why = claim_notes(directory, request, *got.slot); !why.ok()) {
    caches.uncount(*got.slot, {request.bytes, got.from}, request.cache);
    stock.give_back(where, *got.slot);
    return fail(why);
  }
  const raw_tensor made = publish(*this, *got.slot, request, asked);
  timer.count();
  notify_made(made.id);
  return made;
}

raw_tensor allocate_general(pool_core* core, std::size_t bytes, device where,
                            const allocation_options& options) noexcept {
  tensor_flags flags = tensor_flags::none;
  flags = options.movable ? flags | tensor_flags::movable : flags;
  flags = options.tracked ? flags | tensor_flags::tracked : flags;
  return core->allocate({.bytes = bytes,
                         .where = where,
                         .stream = options.stream,
                         .alignment = options.alignment,
                         .key = options.key,
                         .name = options.name,
                         .category = options.category,
                         .lifecycle = options.lifecycle,
                         .flags = flags});
}

status failure_status(pool_core* core, raw_tensor failed, std::size_t bytes,
                      device where) noexcept {
  const auto code = static_cast<errc>(reinterpret_cast<std::uintptr_t>(failed.data));
  return core->last_failure_on(where, bytes, code);
}

status pool_core::last_failure_on(device where, std::size_t bytes, errc code) const noexcept {
  status why = incidents.last_failure(code);
  why.requested = bytes;
  why.where = where;
  if (why.text != nullptr) {
    return why;
  }
  switch (code) {
  case errc::over_budget:
    why.text = "the limit of the device is reached; all caches were taken back before";
    break;
  case errc::out_of_memory:
    why.text = "all caches were taken back before";
    break;
  case errc::unknown_device:
    why.text = "no backend of this pool serves the device";
    break;
  default:
    break;
  }
  return why;
}

void throw_failure(pool_core* core, raw_tensor failed, std::size_t bytes, device where) {
  const status why = failure_status(core, failed, bytes, where);
  if (why.code == errc::out_of_memory || why.code == errc::over_budget) {
    std::shared_ptr<const pool_report> report;
    try {
      report = std::make_shared<const pool_report>(
          core->make_report(where.is_automatic() ? status{} : why));
    } catch (const std::bad_alloc&) {
      // There is no memory for a report; the figures below need none.
    }
    const device_entry* const entry = core->lanes.find(where);
    throw out_of_memory(why, entry == nullptr ? SIZE_MAX : entry->reserved.limits().hard,
                        entry == nullptr ? 0 : entry->reserved.claimed(), std::move(report));
  }
  throw error(why);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
