// SPDX-License-Identifier: Apache-2.0
//
// Making and destroying a pool; caches that come and go.
#include "access/store.hpp"
#include "debug/layer.hpp"
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"
#include "pool/pool_list.hpp"
#include "pool/process.hpp"
#include "pool/thread_caches.hpp"
#include <tidepool/assert.hpp>
#include <tidepool/environment.hpp>

#include <algorithm>
#include <bit>
#include <exception>

namespace tidepool {
inline namespace v0 {
namespace detail {

pool_core::pool_core(const pool_options& options)
    : lanes(options.max_cached_lanes),
      incidents(options.on_misuse, options.misuse_context),
      options_(options),
      fenced_(!options.membarrier || environment_flag("no_membarrier") ||
              !asymmetric_barrier_available()) {}

pool_core::~pool_core() {
  if (tag_ != 0) {
    delist(*this);
    release_pool_tag(tag_);
  }
}

result<pool_core*> pool_core::make(std::vector<std::unique_ptr<backend>> backends,
                                   const pool_options& options) noexcept {
  const auto invalid = [](const char* text) {
    return status{.code = errc::invalid_argument, .text = text};
  };
  if (backends.empty()) {
    return invalid("a pool needs at least one backend");
  }
  if (options.minimum_alignment != 0 && (!std::has_single_bit(options.minimum_alignment) ||
                                         options.minimum_alignment > highest_alignment)) {
    return invalid("minimum_alignment must be a power of two up to 1 GiB");
  }
  if (options.max_tensors > most_slots || options.max_tensors == 0) {
    return invalid("max_tensors must be 1..2^25");
  }
  if (options.max_cached_lanes > most_cached_lanes) {
    return invalid("max_cached_lanes must be at most 32");
  }
  if (options.debug.call_site_frames > debug_options::most_call_site_frames) {
    return invalid("call_site_frames must be at most 16");
  }
  try {
    // The destructor is private: no unique_ptr without a deleter of our own.
    const auto destroy = [](pool_core* core) { delete core; };
    std::unique_ptr<pool_core, decltype(destroy)> core(new pool_core(options), destroy);
    core->lanes.reserved.set(
        {.hard = options.total_limit_bytes, .soft = options.total_soft_limit_bytes});
    const unsigned serial = next_pool_serial();
    core->tag_ = acquire_pool_tag();
    if (core->tag_ == 0) {
      return status{.code = errc::too_many, .text = "63 pools are alive in this process"};
    }
    // Tags are given lowest first, so the first pools alive have a gate each.
    core->has_gate_ = !core->fenced_ && core->tag_ <= pool_gates;
    core->gate = offset_of_gate(core->has_gate_ ? core->tag_ - 1 : pool_gates);
    const std::uint32_t first_generation = 1 + (serial * 2654435761U) % (1U << 24);
    if (!core->directory.slots.open(options.max_tensors, core->tag_, first_generation)) {
      return status{.code = errc::out_of_memory,
                    .requested = 4096 * (sizeof(record) + sizeof(cold_record)),
                    .text = "no address space for records: raise the limit (ulimit -v)"};
    }
    if (const debug_options modes = with_environment(options.debug); modes.any()) {
      core->debug_ = std::make_unique<debug_layer>(modes, core->directory.slots);
      if (!core->debug_->open()) {
        return status{.code = errc::out_of_memory, .text = "no address space for debug records"};
      }
    }
    if (const status why = core->lanes.add(
            std::move(backends),
            {.limits = {.hard = options.limit_bytes, .soft = options.soft_limit_bytes},
             .minimum_alignment = options.minimum_alignment});
        !why.ok()) {
      return why;
    }
    // The path of lane 0 gives no more than a cache line's alignment.
    const device_entry& first = *core->lanes.devices().front();
    core->lane0_bits =
        first.alignment == cache_line || first.description.alignment >= first.alignment
            ? first.where.bits()
            : device{device_kind::automatic, 0xffff, 0}.bits();
    core->accesses = make_access_store(*core, {.half_life = core->options_.access_half_life,
                                               .backends = core->lanes.backends(),
                                               .keys = core->directory.keys});
    core->lanes.attach_backends();
    if (!enlist(*core)) {
      return status{.code = errc::out_of_memory, .text = "no room for handlers of fork"};
    }
    return core.release();
  } catch (const std::exception&) {
    return status{.code = errc::out_of_memory, .text = "making a pool"};
  }
}

bool pool_core::register_cache(front_cache& cache) noexcept {
  const std::lock_guard lock(registry_mutex_);
  if (is_closed()) {
    return false;
  }
  cache.owner.store(this, std::memory_order_relaxed);
  cache.next = caches_;
  caches_ = &cache;
  ++cache_count_;
  if (front_open()) {
    open_gate(cache);
  }
  return true;
}

void pool_core::unregister_cache(front_cache& cache) noexcept {
  const std::lock_guard lock(registry_mutex_);
  close_gate(cache);
  drain(cache);
  for (std::size_t i = 0; i < std::min(cache.lanes, lanes.count()); ++i) {
    lane& where = lanes.at(i);
    const std::lock_guard counts_lock(where.mutex);
    cache.lane(i).for_each_used(
        [&](unsigned size_class, magazine& m) { where.counts_of(size_class) += m.counts(); });
  }
  for (front_cache** link = &caches_; *link != nullptr; link = &(*link)->next) {
    if (*link == &cache) {
      *link = cache.next;
      --cache_count_;
      break;
    }
  }
  // The last touch: its thread may use the memory for the next pool from here on.
  cache.owner.store(nullptr, std::memory_order_release);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
