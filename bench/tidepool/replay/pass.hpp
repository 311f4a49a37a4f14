// SPDX-License-Identifier: Apache-2.0
//
// One pass of one thread over its operations: the loop that is timed. Operations are timed in
// chunks with one reading of the clock between two chunks, so that the clock costs a fraction of a
// nanosecond per operation; what the loop itself costs is measured with null_contestant and shown,
// not subtracted.
#pragma once

#include "tidepool/replay/contestants.hpp"
#include "tidepool/replay/plan.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace tidepool::bench {

enum class touch_mode : std::uint8_t {
  none,
  line,  ///< writes the first 64 bytes of each allocation
  all,   ///< writes one byte of each 4 KiB
};

inline constexpr std::size_t touched_page_bytes = 4096;

/// What one thread saw of one contestant in one pass.
struct pass_record {
  std::vector<float> chunk_ns;  ///< ns per operation, one for each chunk; sized beforehand
  std::uint64_t failures = 0;
};

/// How to run a pass; the same for all threads.
struct pass_settings {
  touch_mode touch = touch_mode::none;
  std::size_t chunk = 128;  ///< operations between two readings of the clock
  /// Called, untimed, once operation `survey_at` has run. Null: never.
  void (*survey)(void* context) = nullptr;
  void* context = nullptr;
  std::uint64_t survey_at = 0;
};

/// Chunks of a pass: a rest shorter than half a chunk is joined to the last one.
[[nodiscard]] constexpr std::size_t chunk_count(std::size_t operations,
                                                std::size_t chunk) noexcept {
  return operations == 0 ? 0 : std::max<std::size_t>(1, (operations + chunk / 2) / chunk);
}

namespace detail_replay {

inline void write_to(void* data, std::size_t bytes, touch_mode touch) noexcept {
  if (touch == touch_mode::none || bytes == 0) {
    return;
  }
  auto* const first = static_cast<std::byte*>(data);
  if (touch == touch_mode::all) {
    for (std::size_t at = 0; at < bytes; at += touched_page_bytes) {
      *const_cast<volatile std::byte*>(first + at) = std::byte{1};
    }
    return;
  }
  if (bytes >= 64) [[likely]] {
    std::memset(first, 1, 64);
  } else {
    std::memset(first, 1, bytes);
  }
  asm volatile("" : : "r"(first) : "memory");
}

/// The state of a slot once it is known. Waits only where another thread makes the allocation.
inline slot_state settled(const replay_slot& slot) noexcept {
  slot_state state = slot.state.load(std::memory_order_acquire);
  while (state == slot_state::empty)
    [[unlikely]] {
      sched_yield();
      state = slot.state.load(std::memory_order_acquire);
    }
  return state;
}

template <class Contestant>
std::uint64_t run_operations(Contestant& target, std::span<const replay_op> ops, replay_slot* slots,
                             touch_mode touch) noexcept {
  std::uint64_t failures = 0;
  for (const replay_op& op : ops) {
    replay_slot& slot = slots[op.slot()];
    if (op.is_free()) {
      if (settled(slot) == slot_state::live) [[likely]] {
        if constexpr (requires { target.deallocate(slot, op); }) {
          target.deallocate(slot, op);
        } else {
          target.deallocate(slot);
        }
      }
      slot.state.store(slot_state::empty, std::memory_order_relaxed);
      continue;
    }
    const allocation made = target.allocate(op);
    slot.data = made.data;
    slot.id = made.id;
    if (!made.ok) [[unlikely]] {
      ++failures;
      slot.state.store(slot_state::failed, std::memory_order_release);
      continue;
    }
    write_to(made.data, op.bytes(), touch);
    slot.state.store(slot_state::live, std::memory_order_release);
  }
  return failures;
}

}  // namespace detail_replay

/// What one thread replays, and the slots that its operations name.
struct pass_work {
  std::span<const replay_op> ops;
  replay_slot* slots = nullptr;
};

/// Replays `work` once and adds to `record`, whose memory is the caller's, so that nothing is
/// allocated between two readings of the clock.
/// Pre: record.chunk_ns has chunk_count(work.ops.size(), settings.chunk) elements.
template <class Contestant>
void run_pass(Contestant& target, const pass_work& work, const pass_settings& settings,
              pass_record& record) noexcept {
  using clock = std::chrono::steady_clock;
  const std::size_t chunks = record.chunk_ns.size();
  std::size_t begin = 0;
  clock::time_point last = clock::now();
  for (std::size_t i = 0; i < chunks; ++i) {
    const std::size_t end = i + 1 == chunks ? work.ops.size() : begin + settings.chunk;
    std::size_t from = begin;
    if (settings.survey != nullptr && settings.survey_at >= begin && settings.survey_at < end) {
      from = settings.survey_at + 1;
      record.failures += detail_replay::run_operations(
          target, work.ops.subspan(begin, from - begin), work.slots, settings.touch);
      settings.survey(settings.context);
    }
    record.failures += detail_replay::run_operations(target, work.ops.subspan(from, end - from),
                                                     work.slots, settings.touch);
    const clock::time_point now = clock::now();
    record.chunk_ns[i] =
        static_cast<float>(std::chrono::duration<double, std::nano>(now - last).count() /
                           static_cast<double>(end - begin));
    last = now;
    begin = end;
  }
}

/// Frees what the trace leaves alive, untimed.
template <class Contestant>
void free_rest(Contestant& target, std::span<replay_slot> slots) noexcept {
  for (replay_slot& slot : slots) {
    if (slot.state.load(std::memory_order_acquire) == slot_state::live) {
      target.deallocate(slot);
    }
    slot.state.store(slot_state::empty, std::memory_order_relaxed);
  }
}

}  // namespace tidepool::bench
