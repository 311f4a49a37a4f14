// SPDX-License-Identifier: Apache-2.0
//
// Checks and completes a request before any block is looked for: the placement policy chooses the
// device, defaults are filled in, and the stream's lane is found.
#include "pool/capture_check.hpp"
#include "pool/pool_core.hpp"

#include <bit>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Chooses the device of a request that names none: by the application's policy, or the first device
// if there is no policy.
void place(const pool_core& core, allocation_request& request) noexcept {
  if (!request.where.is_automatic()) {
    return;
  }
  request.where = core.lanes.devices().front()->where;
  if (core.settings.placement != nullptr) {
    const allocation_options seen{.stream = request.stream,
                                  .category = request.category,
                                  .lifecycle = request.lifecycle,
                                  .movable = any(request.flags & tensor_flags::movable),
                                  .tracked = any(request.flags & tensor_flags::tracked),
                                  .name = request.name,
                                  .alignment = request.alignment,
                                  .key = request.key};
    const callback outside;
    request.where = core.settings.placement(request.bytes, seen, core.settings.placement_context);
  }
}

// Returns the first fault of a request's options, or null.
[[nodiscard]] const char* fault_of(const pool_core& core,
                                   const allocation_request& request) noexcept {
  if (request.alignment != 0 &&
      (!std::has_single_bit(request.alignment) || request.alignment > highest_alignment)) {
    return "alignment must be a power of two up to 1 GiB";
  }
  if (!core.directory.categories.is_known(request.category)) {
    return "unknown category: register it first";
  }
  if (request.name.value() > core.directory.names.last()) {
    return "unknown name id: intern the name in this pool first";
  }
  if (request.lifecycle != lifecycle::automatic &&
      static_cast<unsigned>(request.lifecycle) >= lifecycle_count) {
    return "unknown lifecycle";
  }
  return nullptr;
}

// Fills in the lifecycle and the flags that follow from the category and the key.
void fill_in(allocation_request& request) noexcept {
  if (request.lifecycle == lifecycle::automatic) {
    request.lifecycle = static_cast<std::uint8_t>(request.category) < built_in_categories
                            ? default_lifecycle(request.category)
                            : lifecycle::temporary;
  }
  if (request.key != 0) {
    request.flags = request.flags | tensor_flags::keyed;
  }
  if (is_evictable(request.category)) {
    request.flags = request.flags | tensor_flags::tracked;
  }
}

}  // namespace

// Completes the request. Returns the lane of its tensor.
result<lane*> pool_core::check_request(allocation_request& request) noexcept {
  const auto refused = [&](errc code, const char* text) {
    return status{.code = code, .requested = request.bytes, .where = request.where, .text = text};
  };
  if (is_closed()) {
    (void)report_misuse(misuse_kind::after_close, {});
    return status{.code = errc::closed, .requested = request.bytes, .where = request.where};
  }
  place(*this, request);
  if (const char* const fault = fault_of(*this, request)) {
    return refused(errc::invalid_argument, fault);
  }
  fill_in(request);
  device_entry* const device = lanes.find(request.where);
  if (device == nullptr) {
    return refused(errc::unknown_device, "no backend of this pool serves the device");
  }
  // Memory for the host is in no stream's order, so it belongs to the device's own lane.
  const result<lane*> found = device->is_for_host()
                                  ? result<lane*>(&lanes.of_device(*device))
                                  : lane_for(*device, request.stream, request.cache);
  if (!found) {
    status why = found.error();
    why.requested = request.bytes;
    return why;
  }
  if (request.bytes > largest_request) {
    return refused(errc::out_of_memory, "larger than any address space");
  }
  lane* const arena = (*found)->captured_by.load(std::memory_order_acquire);
  if (arena == nullptr && is_seen_capturing(*device, request.stream)) {
    return refused(errc::stream_captures,
                   "memory for a captured stream comes from a capture_scope");
  }
  return arena == nullptr ? *found : arena;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
