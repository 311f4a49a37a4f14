// SPDX-License-Identifier: Apache-2.0
//
// Making a pool from backends and options, and destroying it.
#include "access/store.hpp"
#include "debug/layer.hpp"
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"
#include "pool/pool_list.hpp"
#include "pool/process.hpp"
#include "pool/this_thread.hpp"
#include <tidepool/assert.hpp>
#include <tidepool/environment.hpp>

#include <algorithm>
#include <bit>
#include <exception>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Returns the first fault of the options, or null if they are in range.
[[nodiscard]] const char* fault_of(const pool_options& options) noexcept {
  if (options.minimum_alignment != 0 && (!std::has_single_bit(options.minimum_alignment) ||
                                         options.minimum_alignment > highest_alignment)) {
    return "minimum_alignment must be a power of two up to 1 GiB";
  }
  if (options.max_tensors > most_slots || options.max_tensors == 0) {
    return "max_tensors must be 1..2^25";
  }
  if (options.max_cached_lanes > most_lanes) {
    return "max_cached_lanes must be at most 4096";
  }
  if (options.debug.call_site_frames > debug_options::most_call_site_frames) {
    return "call_site_frames must be at most 16";
  }
  return nullptr;
}

// Retires the lanes of an ending thread's per-thread default streams. It must not block: the thread
// calls this with process_mutex held, and fork() needs that mutex.
// The thread's default streams can be named no more. The legacy stream waits for all of them, so it
// stands in; that needs no driver, which must not be called here.
void retire_lanes_of_thread(void* context, std::uint64_t thread) noexcept {
  auto& core = *static_cast<pool_core*>(context);
  const operation guard(core, may_wait::no);
  core.lanes.for_each_of_thread(
      thread, [&](lane& known) { core.retire_lane(known, {.kind = stream_kind::legacy}); });
}

[[nodiscard]] thread_caches::settings cache_settings(const pool_options& options,
                                                     pool_core& core) noexcept {
  return {.thread_bytes = options.thread_cache_bytes,
          .total_bytes = options.total_cache_bytes,
          .lanes = options.max_cached_lanes,
          // In debug modes all gates stay closed, so that every operation takes the slow path,
          // which does the checks.
          .gates = {.opens = !with_environment(options.debug).any() &&
                             options.thread_cache_bytes != 0 && options.max_cached_lanes != 0,
                    .fenced = !options.membarrier || environment_flag("no_membarrier") ||
                              !asymmetric_barrier_available()},
          .on_thread_end = retire_lanes_of_thread,
          .context = &core};
}

}  // namespace

pool_core::pool_core(const pool_options& options)
    : lanes(options.max_cached_lanes),
      incidents(options.on_misuse, options.misuse_context),
      stock({operations, lanes, incidents, directory}, options.ready_bytes),
      caches({operations, lanes, stock}, cache_settings(options, *this)),
      settings(options) {}

pool_core::~pool_core() {
  if (tag_ != 0) {
    delist(*this);
    release_pool_tag(tag_);
  }
}

result<pool_core*> pool_core::make(std::vector<std::unique_ptr<backend>> backends,
                                   const pool_options& options) noexcept {
  const char* const fault =
      backends.empty() ? "a pool needs at least one backend" : fault_of(options);
  if (fault != nullptr) {
    return status{.code = errc::invalid_argument, .text = fault};
  }
  try {
    // The destructor is private, so unique_ptr needs a deleter that may call it.
    const auto destroy = [](pool_core* core) { delete core; };
    std::unique_ptr<pool_core, decltype(destroy)> core(new pool_core(options), destroy);
    if (const status why = core->open(std::move(backends)); !why.ok()) {
      return why;
    }
    return core.release();
  } catch (const std::exception&) {
    return status{.code = errc::out_of_memory, .text = "making a pool"};
  }
}

// Builds the parts in order. The tag comes first, because ids carry it; enlisting for fork comes
// last, because fork must not see a pool that is half made. Throws std::bad_alloc.
status pool_core::open(std::vector<std::unique_ptr<backend>> backends) {
  lanes.reserved.set({.hard = settings.total_limit_bytes, .soft = settings.total_soft_limit_bytes});
  const unsigned serial = next_pool_serial();
  tag_ = acquire_pool_tag();
  if (tag_ == 0) {
    return {.code = errc::too_many, .text = "63 pools are alive in this process"};
  }
  // The lowest free tag is given first, so the first pools alive have a gate each.
  const bool has_gate = !caches.list.is_fenced() && tag_ <= pool_gates;
  gate = offset_of_gate(has_gate ? tag_ - 1 : pool_gates);
  if (has_gate) {
    caches.set_gate(gate);
  }
  const std::uint32_t first_generation = 1 + (serial * 2654435761U) % (1U << 24);
  if (!directory.slots.open(settings.max_tensors, tag_, first_generation)) {
    return {.code = errc::out_of_memory,
            .requested = 4096 * (sizeof(record) + sizeof(cold_record)),
            .text = "no address space for records: raise the limit (ulimit -v)"};
  }
  if (const debug_options modes = with_environment(settings.debug); modes.any()) {
    debug = std::make_unique<debug_layer>(modes, directory.slots);
    stock.set_debug(debug.get());
    if (!debug->open()) {
      return {.code = errc::out_of_memory, .text = "no address space for debug records"};
    }
  }
  if (const status why =
          lanes.add(std::move(backends),
                    {.limits = {.hard = settings.limit_bytes, .soft = settings.soft_limit_bytes},
                     .minimum_alignment = settings.minimum_alignment});
      !why.ok()) {
    return why;
  }
  // The warm path of lane 0 aligns to a cache line and to the device's own alignment. If the pool
  // asks for more, no device has the bits of lane 0, so every allocation takes another path.
  const device_entry& first = *lanes.devices().front();
  lane0_bits = first.alignment == cache_line || first.description.alignment >= first.alignment
                   ? first.where.bits()
                   : device{device_kind::automatic, 0xffff, 0}.bits();
  accesses = make_access_store(*this);
  lanes.attach_backends();
  if (!enlist(*this)) {
    return {.code = errc::out_of_memory, .text = "no room for handlers of fork"};
  }
  return {};
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
