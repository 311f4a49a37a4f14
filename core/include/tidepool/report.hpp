// SPDX-License-Identifier: Apache-2.0
//
// pool_report: says where a pool's memory is, which tensors and threads hold it, what happened last
// and what to do about it. A pool makes one when memory runs out (out_of_memory::report) and on
// demand (pool_control::report). Making one reads every tensor's record, which takes milliseconds.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/limits.hpp>
#include <tidepool/result.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tidepool {
inline namespace v0 {

/// Live tensors of one category or one name.
struct memory_holder {
  std::string name;           ///< "" of tensors without a name
  std::uint64_t tensors = 0;  ///< with a block of their own; slices and adopted memory have none
  std::size_t bytes = 0;      ///< their blocks
};

/// Free blocks that one thread keeps.
struct thread_holding {
  std::uint64_t thread = 0;  ///< the system's number of the thread (gettid)
  std::size_t bytes = 0;
};

struct device_report {
  device where = {};
  std::string name;             ///< what the backend calls the device
  std::size_t total_bytes = 0;  ///< physical size, 0: unknown
  memory_limits limits;
  std::size_t reserved_bytes = 0;  ///< backed by the system: live + in threads + ready + free
  std::size_t peak_reserved_bytes = 0;
  /// Blocks of live tensors, idle memory beside them, and the memory of graph arenas.
  std::size_t live_bytes = 0;
  std::size_t requested_bytes = 0;     ///< bytes that live tensors asked for
  std::size_t inactive_bytes = 0;      ///< blocks of live tensors with lifecycle::inactive
  std::size_t in_threads_bytes = 0;    ///< free blocks in threads' caches
  std::size_t ready_bytes = 0;         ///< free blocks in the pool's ready lists and quarantine
  std::size_t free_bytes = 0;          ///< free in the backend
  std::size_t pending_bytes = 0;       ///< of free_bytes, not yet passed by a stream
  std::size_t arena_bytes = 0;         ///< of live_bytes, free blocks that graph arenas keep
  std::size_t foreign_bytes = 0;       ///< of the physical device, used by others; 0: unknown
  std::size_t largest_free_bytes = 0;  ///< the largest piece of free_bytes
  /// 1 - largest_free / free: 0 when all free memory is one piece.
  double fragmentation = 0;
  std::vector<memory_holder> by_category;  ///< all with tensors, the largest first
  std::vector<memory_holder> by_name;      ///< the 16 largest
  std::vector<thread_holding> threads;     ///< all that hold something, the largest first
};

enum class memory_event_kind : std::uint8_t {
  failed = 0,             ///< an allocation failed; bytes: requested
  recalled = 1,           ///< threads' caches were taken back; bytes: taken
  trimmed = 2,            ///< bytes: given back to the system
  reclaimed = 3,          ///< the reclaim handler was called; bytes: its answer
  soft_limit_passed = 4,  ///< an allocation passed it; bytes: requested
  limits_set = 5,         ///< bytes: the hard limit
  prewarmed = 6,          ///< bytes: made ready
};

struct memory_event {
  std::uint64_t number = 0;  ///< counts all events of the pool, from 1
  double seconds = 0;        ///< since the pool was made
  memory_event_kind kind = memory_event_kind::failed;
  errc code = errc::ok;
  device where = {};
  std::size_t bytes = 0;
};

struct pool_report {
  static constexpr int format_version = 1;
  /// The failure that the report is about: that of the exception for out_of_memory::report, else
  /// the pool's last one. If the code is ok, no allocation ever failed.
  status failure;
  memory_limits limits;  ///< of all devices together
  std::size_t reserved_bytes = 0;
  std::size_t peak_reserved_bytes = 0;
  std::uint64_t tensors = 0;      ///< alive, of all kinds
  std::uint64_t max_tensors = 0;  ///< alive or ready at most
  std::vector<device_report> devices;
  std::vector<memory_event> events;  ///< the last 32, oldest first
  /// A remedy for the failure, in words with numbers; "" without a failure.
  std::string suggestion;
};

/// Returns the report as text for people.
[[nodiscard]] TIDEPOOL_EXPORT std::string to_text(const pool_report& report);
/// Returns one JSON object, whose keys are the members above and "format_version".
[[nodiscard]] TIDEPOOL_EXPORT std::string to_json(const pool_report& report);

}  // namespace v0
}  // namespace tidepool
