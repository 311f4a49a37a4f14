// SPDX-License-Identifier: Apache-2.0
//
// Lanes and devices of a pool. A lane is what blocks may be reused within: a device, or a device
// and a stream. Lane 0 is the pool's first device.
#pragma once

#include "budget.hpp"
#include "class_counts.hpp"
#include "ready_list.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/size_class.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

inline constexpr std::size_t most_devices = 255;

/// A device of the pool: its backend, its limits and what is counted against them.
struct device_entry {
  device where = {};
  backend* source = nullptr;
  device_description description = {};
  std::size_t alignment = cache_line;  // of every allocation
  std::uint8_t number = 0;             // among the pool's devices
  std::size_t first_lane = 0;
  budget reserved;                                // claimed == bytes that the backend has backed
  std::atomic<std::size_t> ready_bytes{0};        // in ready lists
  std::atomic<std::size_t> quarantined_bytes{0};  // freed, kept back by a debug mode
  std::atomic<std::uint64_t> live_bytes{0};       // requested, as published by threads
  std::atomic<std::uint64_t> peak_live{0};

  /// Free blocks that no thread has and the backend does not know to be free.
  [[nodiscard]] std::size_t kept_bytes() const noexcept {
    return ready_bytes.load(std::memory_order_relaxed) +
           quarantined_bytes.load(std::memory_order_relaxed);
  }

  void publish_live(std::uint64_t change) noexcept {
    raise(peak_live, live_bytes.fetch_add(change, std::memory_order_relaxed) + change);
  }
};

struct lane {
  device_entry* device = nullptr;
  stream_ref stream = {};
  std::uint16_t number = 0;
  std::array<ready_list, size_class_count> ready;

  std::mutex mutex;
  // What no live front cache counts: operations of threads without one, and of caches that are
  // gone.
  std::array<class_counts, size_class_count> counts;  // guarded by mutex

  [[nodiscard]] ready_list& ready_of(unsigned size_class) noexcept {
    return ready[size_class - first_size_class];
  }
  /// Pre: mutex is held.
  [[nodiscard]] class_counts& counts_of(unsigned size_class) noexcept {
    return counts[size_class - first_size_class];
  }
  [[nodiscard]] bool is(const device_entry& of, const stream_ref& queue) const noexcept {
    return device == &of && stream.handle == queue.handle && stream.kind == queue.kind;
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
