// SPDX-License-Identifier: Apache-2.0
//
// Connects the pool's steps with the debug modes: tensors that begin or end, reports, the walk over
// all tensors, and leaks at closing. Nothing here runs unless a mode is on.
#include "debug/layer.hpp"
#include "pool/ended_blocks.hpp"
#include "pool/pool_core.hpp"
#include "system/uncancellable.hpp"

#include <cstdio>
#include <exception>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Guards move a tensor inside its block, so this moves its entry in the index of addresses.
void move_pointer(directory& known, const record& slot, void* from) noexcept {
  if (slot.data.load(std::memory_order_acquire) != from) {
    known.pointers.forget_block(slot, from);
    (void)known.pointers.enter_block(slot);
  }
}

}  // namespace

footprint pool_core::footprint_of(const device_entry& device,
                                  const footprint& asked) const noexcept {
  return debug == nullptr ? asked : debug->footprint_of(device, asked.bytes, asked.alignment);
}

void pool_core::begin_checked(record& slot, tensor_id id, const footprint& asked) noexcept {
  void* const block = slot.data.load(std::memory_order_relaxed);
  const findings found = debug->begin(slot, lanes.of(slot), id, asked);
  move_pointer(directory, slot, block);
  (void)report_findings(found);
}

// Ends a block under debug modes: it checks the block, and may hold it in the quarantine.
void pool_core::end_checked(record& slot, std::uint64_t bytes) noexcept {
  check_ended(*this, slot);
  lane& where = lanes.of(slot);
  stock.count_ended(where, slot.size_class.load(std::memory_order_relaxed), bytes);
  // While a thread runs out of memory, the quarantine holds no further block back.
  if (debug->is_stuck(slot) || (!is_closed() && !stock.is_climbing() && debug->wants(slot))) {
    debug->hold(slot);
    (void)shrink_quarantine(debug->options().quarantine_bytes);
  } else {
    stock.keep_centrally(where, slot);
  }
}

void check_ended(pool_core& core, record& slot) noexcept {
  void* const data = slot.data.load(std::memory_order_relaxed);
  const findings found = core.debug->end(slot, core.lanes.of(slot));
  move_pointer(core.directory, slot, data);
  (void)core.report_findings(found);
}

// Releases the oldest blocks of the quarantine. Returns their bytes.
std::size_t pool_core::shrink_quarantine(std::size_t keep_bytes) noexcept {
  std::size_t released = 0;
  // A stuck block goes back in, so the loop looks at each held block once at most.
  for (std::size_t left = debug->held_blocks(); left != 0; --left) {
    record* const oldest = debug->take_oldest(keep_bytes);
    if (oldest == nullptr) {
      break;
    }
    (void)report_findings(debug->release(*oldest));
    if (debug->is_stuck(*oldest)) {
      debug->hold(*oldest);
    } else {
      released += oldest->capacity.load(std::memory_order_relaxed);
      stock.keep_centrally(lanes.of(*oldest), *oldest);
    }
  }
  return released;
}

namespace {
[[nodiscard]] memory_damage describe(const finding& found, debug_layer& layer,
                                     const name_table& names) noexcept {
  memory_damage damage = found.damage;
  damage.category = category_of(found.tag);
  damage.name = names.text(name_of(found.tag));
  damage.allocated_at = layer.frames(found.allocated_at);
  damage.freed_at = layer.frames(found.freed_at);
  return damage;
}
}  // namespace

std::size_t pool_core::report_findings(const findings& all) noexcept {
  for (const finding& found : std::span(all.found).first(all.count)) {
    const memory_damage damage = describe(found, *debug, directory.names);
    debug->count_damage();
    (void)incidents.report_misuse(found.kind, damage.id, &damage);
  }
  return all.count;
}

std::optional<memory_damage> pool_core::past_of(tensor_id id) noexcept {
  const std::optional<finding> known = debug->history(directory.slots.at(id.value()), id);
  return known ? std::optional(describe(*known, *debug, directory.names)) : std::nullopt;
}

// Checks all guards and the quarantine and reports damages. Returns their number.
std::size_t pool_core::check_memory() noexcept {
  if (debug == nullptr) {
    return 0;
  }
  const operation guard(*this);
  std::size_t damages = 0;
  debug->check_all([&](const findings& found) { damages += report_findings(found); });
  return damages;
}

tidepool::debug_counts pool_core::debug_counts() noexcept {
  const operation guard(*this);
  return debug == nullptr ? tidepool::debug_counts{} : debug->counts();
}

// Reports the tensors that are alive when the pool closes. Pre: no lock is held.
void pool_core::report_at_close() noexcept {
  (void)shrink_quarantine(0);
  (void)check_memory();
  const debug_options& options = debug->options();
  if (!options.report_leaks) {
    return;
  }
  try {
    if (const leak_report report = leaks(); report.tensors == 0) {
      return;
    } else if (options.on_leaks != nullptr) {
      const callback outside;
      options.on_leaks(report, options.leaks_context);
    } else {
      const uncancellable writing;
      std::fputs(to_text(report).c_str(), stderr);
    }
  } catch (const std::exception&) {
    const uncancellable writing;
    std::fputs("tidepool: no memory to report leaks\n", stderr);
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
