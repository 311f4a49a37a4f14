// SPDX-License-Identifier: Apache-2.0
//
// gate: leads a thread to its front caches. Each thread has a table in static TLS with one entry
// for each pool. An entry is the biased lock that front_cache.hpp explains: the pointer to the
// cache, which is the gate proper, and the owner's busy flag.
//
// Thread safety: an entry belongs to its thread; closers write `cache` and read `busy`.
#pragma once

#include "system/asymmetric_barrier.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

struct front_cache;

struct alignas(16) gate_entry {
  constexpr gate_entry() noexcept;  // closed
  std::atomic<front_cache*> cache;
  std::atomic<std::uint32_t> busy{0};

  /// The owner enters; leave() ends that. Returns the sentinel if the gate is closed.
  [[nodiscard]] front_cache& enter() noexcept {
    if constexpr (thread_sanitizer) {
      busy.store(1, std::memory_order_seq_cst);
      return *cache.load(std::memory_order_seq_cst);
    } else {
      busy.store(1, std::memory_order_relaxed);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      return *cache.load(std::memory_order_acquire);
    }
  }
  void leave() noexcept { busy.store(0, std::memory_order_release); }
};
static_assert(offsetof(gate_entry, cache) == 0 && offsetof(gate_entry, busy) == 8);

/// The first `pool_gates` live pools have a gate each. All other pools share the last entry, which
/// stays closed, so their threads use the slow paths.
inline constexpr std::size_t pool_gates = 15;
struct gate_table {
  gate_entry gates[pool_gates + 1];
};
// The table is constinit and trivially destructible, so access needs neither guard nor wrapper.
extern constinit thread_local gate_table this_thread_gates;

/// Returns the distance of a gate from the thread pointer. It is the same in every thread, because
/// the table is static TLS (initial-exec). A pool keeps it, so that finding the cache takes two
/// loads.
[[nodiscard]] inline std::ptrdiff_t offset_of_gate(std::size_t gate) noexcept {
  return reinterpret_cast<std::byte*>(&this_thread_gates.gates[gate]) -
         static_cast<std::byte*>(__builtin_thread_pointer());
}
[[nodiscard]] inline gate_entry& gate_at(std::ptrdiff_t offset) noexcept {
  return *reinterpret_cast<gate_entry*>(static_cast<std::byte*>(__builtin_thread_pointer()) +
                                        offset);
}

#if defined(__x86_64__)
inline constexpr bool has_thread_segment = !thread_sanitizer;
#else
inline constexpr bool has_thread_segment = false;
#endif

/// The calling thread's entry for the warm path, by its offset alone. x86-64 addresses relative to
/// the thread pointer in the instruction itself (segment fs), which no C++ expression of g++ makes:
/// an instruction less per operation, and a nanosecond less per pair. The stores and the load are
/// those of gate_entry: plain ones are release and acquire on x86-64.
class gate_ref {
 public:
  explicit gate_ref(std::ptrdiff_t offset) noexcept : offset_(offset) {}

  [[nodiscard]] front_cache& enter() const noexcept {
    if constexpr (has_thread_segment) {
      asm volatile("movl $1, %%fs:8(%0)" : : "r"(offset_) : "memory");
      return *cache();
    } else {
      return gate_at(offset_).enter();
    }
  }
  /// Enters without loading the cache pointer. Call cache() later; until then its register stays
  /// free.
  void begin() const noexcept {
    if constexpr (has_thread_segment) {
      asm volatile("movl $1, %%fs:8(%0)" : : "r"(offset_) : "memory");
    } else {
      (void)gate_at(offset_).enter();
    }
  }
  void leave() const noexcept {
    if constexpr (has_thread_segment) {
      asm volatile("movl $0, %%fs:8(%0)" : : "r"(offset_) : "memory");
    } else {
      gate_at(offset_).leave();
    }
  }
  /// Pre: entered.
  [[nodiscard]] front_cache* cache() const noexcept {
    if constexpr (has_thread_segment) {
      front_cache* found;
      asm volatile("movq %%fs:(%1), %0" : "=r"(found) : "r"(offset_));
      return found;
    } else {
      return gate_at(offset_).cache.load(std::memory_order_relaxed);
    }
  }

 private:
  std::ptrdiff_t offset_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
