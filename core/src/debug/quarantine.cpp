// SPDX-License-Identifier: Apache-2.0
//
// debug_layer: the quarantine of freed blocks, the walk over all guards, the history of tensors,
// and the options of the environment.
#include "debug/layer.hpp"
#include <tidepool/environment.hpp>

#include <algorithm>
#include <cstdio>

namespace tidepool {
inline namespace v0 {
namespace detail {

debug_options with_environment(debug_options options) noexcept {
  options.poison = environment_option("poison") ? environment_flag("poison") : options.poison;
  options.report_leaks =
      environment_option("leaks") ? environment_flag("leaks") : options.report_leaks;
  options.quarantine_bytes = environment_bytes("quarantine").value_or(options.quarantine_bytes);
  if (const auto frames = environment_count("sites")) {
    options.call_site_frames = static_cast<unsigned>(
        std::min<std::uint64_t>(*frames, debug_options::most_call_site_frames));
  }
  if (const auto guard = environment_option("guard")) {
    if (guard->empty() || *guard == "canary") {
      options.guard = guard_mode::canary;
    } else if (*guard == "pages") {
      options.guard = guard_mode::pages;
    } else if (*guard == "none") {
      options.guard = guard_mode::none;
    } else {
      std::fputs("tidepool: TIDEPOOL: guard is none, canary or pages; ignored\n", stderr);
    }
  }
  return options;
}

bool debug_layer::wants(const record& slot) const noexcept {
  return is_stuck(slot) ||
         (options_.quarantine_bytes != 0 && record_of(slot).whole <= options_.quarantine_bytes);
}

void debug_layer::hold(record& slot) noexcept {
  const std::shared_lock lock(walk_mutex_);
  debug_record& r = record_of(slot);
  if (r.protected_from == nullptr && guard_of(*r.where->device) == guard_mode::pages) {
    const std::uintptr_t page = page_bytes();
    const auto begin = (reinterpret_cast<std::uintptr_t>(r.base) + page - 1) & ~(page - 1);
    const auto end = (reinterpret_cast<std::uintptr_t>(r.base) + r.whole) & ~(page - 1);
    if (begin < end) {
      (void)protect(r, reinterpret_cast<std::byte*>(begin), end - begin);
    }
  }
  r.held = true;
  r.where->device->quarantined_bytes.fetch_add(r.whole, std::memory_order_relaxed);
  const std::lock_guard quarantine_lock(quarantine_mutex_);
  set_next(slot, nullptr);
  if (newest_ != nullptr) {
    set_next(*newest_, &slot);
  } else {
    oldest_ = &slot;
  }
  newest_ = &slot;
  held_bytes_ += r.whole;
  ++held_blocks_;
}

record* debug_layer::take_oldest(std::size_t keep_bytes) noexcept {
  const std::shared_lock lock(walk_mutex_);
  const std::lock_guard quarantine_lock(quarantine_mutex_);
  if (oldest_ == nullptr || held_bytes_ <= keep_bytes) {
    return nullptr;
  }
  record* const taken = oldest_;
  oldest_ = next_of(*taken);
  newest_ = oldest_ == nullptr ? nullptr : newest_;
  debug_record& r = record_of(*taken);
  r.held = false;
  held_bytes_ -= r.whole;
  --held_blocks_;
  r.where->device->quarantined_bytes.fetch_sub(r.whole, std::memory_order_relaxed);
  return taken;
}

findings debug_layer::release(record& slot) noexcept {
  const std::shared_lock lock(walk_mutex_);
  debug_record& r = record_of(slot);
  return unprotect(r) && r.filled ? check_fill(r) : findings{};
}

// Takes the lock for one slot at a time, so that an allocating thread waits for one check only.
findings debug_layer::check_slot(std::size_t index) noexcept {
  const std::unique_lock lock(walk_mutex_);
  const record& slot = slots_.by_index(index);
  debug_record& r = record_of(slot);
  if (r.guarded) {
    return check_guards(r, slot.tag.load(std::memory_order_relaxed));
  }
  return r.held && r.filled && r.protected_from == nullptr ? check_fill(r) : findings{};
}

std::optional<finding> debug_layer::history(const record& slot, tensor_id id) noexcept {
  const std::unique_lock lock(walk_mutex_);
  const debug_record& r = record_of(slot);
  if (!id || r.id != id.value()) {
    return std::nullopt;
  }
  finding known;
  known.tag = r.tag;
  known.allocated_at = r.allocated_at;
  known.freed_at = r.freed_at;
  known.damage.id = id;
  known.damage.data = r.data;
  known.damage.bytes = r.bytes;
  known.damage.where = r.where == nullptr ? device{} : r.where->device->where;
  return known;
}

std::uint32_t debug_layer::site_of(const record& slot, tensor_id id) noexcept {
  const std::unique_lock lock(walk_mutex_);
  const debug_record& r = record_of(slot);
  return r.id == id.value() ? r.allocated_at : 0;
}

debug_counts debug_layer::counts() noexcept {
  const auto read = [](const std::atomic<std::uint64_t>& count) {
    return count.load(std::memory_order_relaxed);
  };
  const std::lock_guard lock(quarantine_mutex_);
  return {.guarded = read(guarded_),
          .guard_pages = read(guard_pages_),
          .verified_bytes = read(verified_bytes_),
          .damages = read(damages_),
          .skipped = read(skipped_),
          .quarantined_bytes = held_bytes_,
          .quarantined_blocks = held_blocks_,
          .call_sites = sites_.count()};
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
