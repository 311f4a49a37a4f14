// SPDX-License-Identifier: Apache-2.0
//
// Allocation in general: what is asked for is checked, a lane and a block are found, and the record
// is filled and published. The plain warm case never comes here.
#include "debug/layer.hpp"
#include "pool/capture_check.hpp"
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"
#include "pool/thread_caches.hpp"
#include <tidepool/detail/allocate.hpp>
#include <tidepool/error.hpp>

#include <algorithm>
#include <bit>
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

}  // namespace

// Completes the request; the lane in which its tensor stands.
result<lane*> pool_core::check_request(allocation_request& request) noexcept {
  const auto invalid = [&](const char* text) {
    return status{.code = errc::invalid_argument,
                  .requested = request.bytes,
                  .where = request.where,
                  .text = text};
  };
  if (is_closed()) {
    (void)report_misuse(misuse_kind::after_close, {});
    return status{.code = errc::closed, .requested = request.bytes, .where = request.where};
  }
  if (request.where.is_automatic()) {
    const allocation_options seen{.stream = request.stream,
                                  .category = request.category,
                                  .lifecycle = request.lifecycle,
                                  .movable = any(request.flags & tensor_flags::movable),
                                  .tracked = any(request.flags & tensor_flags::tracked),
                                  .name = request.name,
                                  .alignment = request.alignment,
                                  .key = request.key};
    request.where = lanes.devices().front()->where;
    if (options_.placement != nullptr) {
      const callback outside;
      request.where = options_.placement(request.bytes, seen, options_.placement_context);
    }
  }
  if (request.alignment != 0 &&
      (!std::has_single_bit(request.alignment) || request.alignment > highest_alignment)) {
    return invalid("alignment must be a power of two up to 1 GiB");
  }
  if (!directory.categories.is_known(request.category)) {
    return invalid("unknown category: register it first");
  }
  if (request.name.value() > directory.names.last()) {
    return invalid("unknown name id: intern the name in this pool first");
  }
  if (request.lifecycle == lifecycle::automatic) {
    request.lifecycle = static_cast<std::uint8_t>(request.category) < built_in_categories
                            ? default_lifecycle(request.category)
                            : lifecycle::temporary;
  } else if (static_cast<unsigned>(request.lifecycle) >= lifecycle_count) {
    return invalid("unknown lifecycle");
  }
  if (request.key != 0) {
    request.flags = request.flags | tensor_flags::keyed;
  }
  if (is_evictable(request.category)) {
    request.flags = request.flags | tensor_flags::tracked;
  }
  device_entry* const device = lanes.find(request.where);
  if (device == nullptr) {
    return status{.code = errc::unknown_device,
                  .requested = request.bytes,
                  .where = request.where,
                  .text = "no backend of this pool serves the device"};
  }
  const result<lane*> found = home_for(*device, request.stream);
  if (!found) {
    status why = found.error();
    why.requested = request.bytes;
    return why;
  }
  if (request.bytes > largest_request) {
    return status{.code = errc::out_of_memory,
                  .requested = request.bytes,
                  .where = request.where,
                  .text = "larger than any address space"};
  }
  lane* const arena = (*found)->captured_by.load(std::memory_order_acquire);
  if (arena == nullptr && is_seen_capturing(*device, request.stream)) {
    return status{.code = errc::stream_captures,
                  .requested = request.bytes,
                  .where = request.where,
                  .text = "memory for a captured stream comes from a capture_scope"};
  }
  return arena == nullptr ? *found : arena;
}

raw_tensor pool_core::allocate(allocation_request request) noexcept {
  const operation guard(*this);
  const auto fail = [&](const status& why) {
    incidents.failed(why);
    return failed(why.code);
  };
  const result<lane*> home = check_request(request);
  if (!home) {
    return fail(home.error());
  }
  lane* const where = *home;
  if (request.bytes == 0) {
    return allocate_empty(request, *where);
  }
  if (where->device->is_for_host() && !request.stream.is_none()) {
    // When it ends without a stream, it ends in the order of this one.
    const result<lane*> user = lane_for(*where->device, request.stream);
    if (!user) {
      return fail(user.error());
    }
    request.used_by = *user;
  }
  const footprint asked{request.bytes, std::max(request.alignment, where->device->alignment)};
  const footprint room = footprint_of(*where->device, asked);
  const std::size_t alignment = room.alignment;
  // A size that is a multiple of the alignment has a class whose size is one too.
  const std::size_t rounded = (room.bytes + alignment - 1) & ~(alignment - 1);
  const block_demand demand{.where = where,
                            .bytes = rounded,
                            .alignment = alignment,
                            .size_class = size_class_of(rounded),
                            // Caches that grow by concatenation live long, but not their blocks.
                            .long_lived = request.lifecycle == lifecycle::persistent &&
                                          request.category != category::kv_cache};
  front_cache* const cache = attach_this_thread(*this);
  const obtained got = obtain(demand, cache);
  if (got.slot == nullptr) {
    return fail(got.why);
  }
  record& slot = *got.slot;
  const auto index = directory.index_of(slot);
  // What can fail comes before the block changes: a failure gives it back as it was.
  status why;
  if (request.used_by != nullptr) {
    if (directory.uses_elsewhere.add(index, request.used_by->number)) {
      request.flags = request.flags | tensor_flags::used_elsewhere;
    } else {
      why = {.code = errc::out_of_memory, .text = "no memory to note the stream"};
    }
  }
  if (why.ok()) {
    why = directory.claim_key(request.key, slot);
  }
  if (!why.ok()) {
    (void)directory.uses_elsewhere.take(index);
    give_back(*where, slot.size_class.load(std::memory_order_relaxed), std::span(&got.slot, 1));
    return fail(why);
  }
  const std::uint64_t id = next_id(slot.header.load(std::memory_order_relaxed));
  if (debug_ != nullptr) [[unlikely]] {
    begin_checked(slot, tensor_id::from_value(id), asked);
  }
  slot.bytes.store(request.bytes, std::memory_order_release);
  slot.tag.store(make_tag(request.name, request.category, where->tag_number()),
                 std::memory_order_release);
  const tensor_flags flags =
      begin_entry(*this, slot, tensor_id::from_value(id), request.lifecycle, request.flags);
  const bool plain = request.lifecycle == lifecycle::temporary && flags == tensor_flags::none;
  slot.header.store(plain ? id : full_header(id, 1, request.lifecycle, flags),
                    std::memory_order_release);
  count_pop(*where, slot.size_class.load(std::memory_order_relaxed), request.bytes, got.from,
            cache);
  notify_made(tensor_id::from_value(id));
  return {slot.data.load(std::memory_order_relaxed), tensor_id::from_value(id)};
}

raw_tensor pool_core::allocate_empty(const allocation_request& request, lane& where) noexcept {
  const result<record*> slot = open_loose(where, request.key);
  if (!slot) {
    incidents.failed(slot.error());
    return failed(slot.error().code);
  }
  return publish_loose(**slot, {.tag = make_tag(request.name, request.category, where.tag_number()),
                                .state = request.lifecycle,
                                .flags = request.flags});
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
  status why{.code = code, .requested = bytes, .where = where};
  switch (code) {
  case errc::over_budget:
    why.text = "the limit of the device is reached; all caches were taken back before";
    break;
  case errc::out_of_memory:
    why.text = "all caches were taken back before";
    break;
  case errc::too_many:
    why.text = "all slots are in use: raise pool_options::max_tensors";
    break;
  case errc::unknown_device:
    why.text = "no backend of this pool serves the device";
    break;
  case errc::invalid_argument:
    why.text = "bad alignment, category, lifecycle, name id or stream";
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
      // Then without: the numbers below need no memory.
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
