// SPDX-License-Identifier: Apache-2.0
//
// debug_layer: adds debug modes to a pool: guards around tensors, fills, the quarantine and call
// sites. When a tensor begins, the layer lays it out inside its block; when it ends, the layer
// restores the block. In between, the slot's data and capacity are those of the room inside the
// guards. The layer returns its findings, and the caller reports them with no lock held
// (debug_steps.cpp).
//
// A pool has a layer only if a mode is on. Then its gates stay closed, so every operation takes the
// slow paths, which check for the layer with one predictable branch.
//
// Thread safety: a slot's functions belong to the slot's owner; others to any thread.
#pragma once

#include "cache/demand.hpp"
#include "cache/lane.hpp"
#include "debug/call_sites.hpp"
#include "debug/memory.hpp"
#include "record/slot_table.hpp"
#include "system/address_space.hpp"
#include <tidepool/debug.hpp>
#include <tidepool/info.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

inline constexpr std::byte fill_of_guards{0xb7};
inline constexpr std::size_t tail_guard_bytes = 16;

/// Returns the options with those of the environment variable TIDEPOOL, which win.
[[nodiscard]] debug_options with_environment(debug_options options) noexcept;

/// What the layer knows of the tensor that has a slot, or had it last. Zero-filled memory is a
/// valid record.
struct debug_record {
  std::byte* base;            // of its block; null: the tensor has none
  std::size_t whole;          // bytes of the block
  std::byte* data;            // of the tensor
  std::size_t bytes;          // of the tensor
  std::byte* tail_end;        // the guard behind the tensor is [data + bytes, tail_end)
  std::byte* protected_from;  // first of the protected pages; null: none
  std::size_t protected_bytes;
  const lane* where;
  std::uint64_t id;
  std::uint64_t tag;  // set when the tensor ends; before, the slot has it
  std::uint32_t allocated_at;
  std::uint32_t freed_at;
  bool laid_out;  // alive, and its slot's data and capacity are those of the room inside guards
  bool guarded;   // laid out, and the guards are filled
  bool filled;    // the block is filled as freed and has not left the pool since
  bool held;      // in the quarantine
};

struct finding {
  misuse_kind kind = misuse_kind::overflow;
  memory_damage damage;  // without name and call sites
  std::uint64_t tag = 0;
  std::uint32_t allocated_at = 0;
  std::uint32_t freed_at = 0;
};
/// The findings of one check of one tensor: an underflow, an overflow, or a write after the end.
struct findings {
  std::array<finding, 2> found;
  std::size_t count = 0;
};

class debug_layer {
 public:
  debug_layer(const debug_options& options, const slot_table& slots) noexcept;
  /// False: no address space.
  [[nodiscard]] bool open() noexcept;
  [[nodiscard]] const debug_options& options() const noexcept { return options_; }

  // A tensor with a block, in this order. Pre: the caller owns the slot.
  [[nodiscard]] footprint footprint_of(const device_entry& device, std::size_t bytes,
                                       std::size_t alignment) const noexcept;
  /// The slot got a block from the backend.
  void on_bind(const record& slot) noexcept { record_of(slot).filled = false; }
  /// Lays out the tensor `id`, before its header is published. Returns writes to the free block.
  [[nodiscard]] findings begin(record& slot, const lane& where, tensor_id id,
                               const footprint& asked) noexcept;
  /// The tensor's size changes in place. Pre: the new size is within the slot's capacity.
  [[nodiscard]] findings resize(record& slot, const lane& where, std::size_t bytes) noexcept;
  /// The tensor has ended, and its header says free. Post: the slot's data and capacity are those
  /// of the block.
  [[nodiscard]] findings end(record& slot, const lane& where) noexcept;
  [[nodiscard]] bool is_laid_out(const record& slot) const noexcept {
    return record_of(slot).laid_out;
  }
  // A tensor without a block.
  void begin_loose(const record& slot, tensor_id id) noexcept;
  void end_loose(const record& slot) noexcept;

  // The quarantine.
  /// Must, or should, the block stay? Pre: end() was called.
  [[nodiscard]] bool wants(const record& slot) const noexcept;
  void hold(record& slot) noexcept;
  /// Takes the oldest block out if more than `keep_bytes` are held, else returns null.
  [[nodiscard]] record* take_oldest(std::size_t keep_bytes) noexcept;
  /// Returns writes to a block while it was held. Pre: the block was taken out.
  [[nodiscard]] findings release(record& slot) noexcept;
  /// True: the system refused to make the block's pages accessible again, so the block must stay.
  [[nodiscard]] bool is_stuck(const record& slot) const noexcept {
    return record_of(slot).protected_from != nullptr;
  }
  [[nodiscard]] std::size_t held_blocks() noexcept {
    const std::lock_guard lock(quarantine_mutex_);
    return held_blocks_;
  }
  template <class F>
  void for_each_held(F&& f) {
    const std::lock_guard lock(quarantine_mutex_);
    for (record* r = oldest_; r != nullptr; r = next_of(*r)) {
      f(*r);
    }
  }

  /// Checks all guards and the quarantine, and calls f(findings) with no lock held. Post: damaged
  /// bytes are filled again, so that each damage is found once.
  template <class F>
  void check_all(F&& f) noexcept;
  /// Returns what is known of the tensor, dead or alive, or nothing if its slot was used again.
  [[nodiscard]] std::optional<finding> history(const record& slot, tensor_id id) noexcept;
  [[nodiscard]] std::uint32_t site_of(const record& slot, tensor_id id) noexcept;
  [[nodiscard]] std::span<void* const> frames(std::uint32_t site) noexcept {
    return sites_.frames(site);
  }
  [[nodiscard]] debug_counts counts() noexcept;
  void count_damage() noexcept { damages_.fetch_add(1, std::memory_order_relaxed); }

 private:
  [[nodiscard]] debug_record& record_of(const record& slot) const noexcept {
    return static_cast<debug_record*>(records_.data())[slots_.index_of(slot)];
  }
  [[nodiscard]] guard_mode guard_of(const device_entry& device) const noexcept;
  [[nodiscard]] bool fills_freed() const noexcept {
    return options_.poison || options_.quarantine_bytes != 0;
  }
  void lay_out(debug_record& r, const footprint& asked, guard_mode mode) noexcept;
  bool fill(const lane& where, std::byte* dst, std::byte value, std::size_t bytes) noexcept;
  void fill_guards(debug_record& r) noexcept;
  [[nodiscard]] findings check_guards(debug_record& r, std::uint64_t tag) noexcept;
  [[nodiscard]] findings check_fill(const debug_record& r) noexcept;
  [[nodiscard]] findings check_slot(std::size_t index) noexcept;
  [[nodiscard]] comparison compare(const lane& where, const std::byte* src, std::byte value,
                                   std::size_t bytes) noexcept;
  bool protect(debug_record& r, std::byte* from, std::size_t bytes) noexcept;
  bool unprotect(debug_record& r) noexcept;
  void skip() noexcept { skipped_.fetch_add(1, std::memory_order_relaxed); }

  const debug_options options_;
  const slot_table& slots_;
  address_space records_;  // debug_record[slots_.capacity()]
  call_site_table sites_;
  // Held shared to change a slot's record or its guards, and alone by a walk over all slots.
  std::shared_mutex walk_mutex_;

  std::mutex quarantine_mutex_;
  record* oldest_ = nullptr;     // guarded by quarantine_mutex_
  record* newest_ = nullptr;     // guarded by quarantine_mutex_
  std::size_t held_bytes_ = 0;   // guarded by quarantine_mutex_
  std::size_t held_blocks_ = 0;  // guarded by quarantine_mutex_

  std::atomic<std::size_t> protected_ranges_{0};
  std::atomic<std::uint64_t> guarded_{0};
  std::atomic<std::uint64_t> guard_pages_{0};
  std::atomic<std::uint64_t> verified_bytes_{0};
  std::atomic<std::uint64_t> damages_{0};
  std::atomic<std::uint64_t> skipped_{0};
};

template <class F>
void debug_layer::check_all(F&& f) noexcept {
  for (std::size_t i = 0; i < slots_.made(); ++i) {
    if (const findings found = check_slot(i); found.count != 0) {
      f(found);
    }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
