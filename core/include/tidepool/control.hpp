// SPDX-License-Identifier: Apache-2.0
//
// pool_control: what an application sets and reads about a pool as a whole: limits, memory kept and
// given back, statistics and reports, observers, checks of the memory and of the pool itself.
//
//   pool.control().set_limits({.hard = std::size_t{8} << 30});
//   std::puts(to_text(pool.control().statistics()).c_str());
//
// The handle is one pointer: pass it by value. It owns nothing and is valid as long as the pool,
// also after the pool is moved. A const handle only reads.
//
// Thread safety: every function may be called by any number of threads at once. The pool calls
// observers outside every lock.
#pragma once

#include <tidepool/backend.hpp>
#include <tidepool/debug.hpp>
#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/info.hpp>
#include <tidepool/limits.hpp>
#include <tidepool/observer.hpp>
#include <tidepool/pool.hpp>
#include <tidepool/prewarm.hpp>
#include <tidepool/report.hpp>
#include <tidepool/result.hpp>
#include <tidepool/statistics.hpp>

#include <cstddef>

namespace tidepool {
inline namespace v0 {

class TIDEPOOL_EXPORT pool_control {
 public:
  // Memory.
  /// Takes all free blocks back from threads and ready lists and gives memory to the system until
  /// at most keep_bytes per device are reserved. Live tensors are not touched. Post, while no other
  /// thread works on the pool: reserved <= max(keep_bytes, in use + pending + stranded), and the
  /// report names what kept the rest. Cost: interrupts each thread's cache once (about 10 us each),
  /// then system calls.
  trim_report trim(std::size_t keep_bytes = 0) noexcept;
  trim_report trim(device where, std::size_t keep_bytes) noexcept;
  /// Sets the limits of one device, or of all devices together. If more than that is reserved now,
  /// free memory goes back to the system at once, and the pool cannot grow until live tensors have
  /// ended. Error: unknown_device, after which nothing has changed. Cost: the cost of trim, if
  /// memory has to go back.
  result<trim_report> set_limits(device where, const memory_limits& limits) noexcept;
  trim_report set_limits(const memory_limits& limits) noexcept;
  /// Returns the limits of one device ({0, 0} if it is unknown), or of all devices together.
  [[nodiscard]] memory_limits limits(device where) const noexcept;
  [[nodiscard]] memory_limits limits() const noexcept;
  /// Lets the peaks in statistics and reports start anew at the present levels.
  void reset_peaks() noexcept;
  /// Gives memory back that stayed free for long: the caches of threads that did nothing since the
  /// last tick, and what the backends kept. Call it in idle moments or by a timer; a ticker
  /// (ticker.hpp) calls it from a thread of its own. Cost: interrupts each thread's cache once,
  /// then system calls.
  void tick() noexcept;
  /// Gives the calling thread's ready blocks to the others.
  void thread_idle() noexcept;
  /// Makes blocks ready before they are needed. Throws the same as allocate; blocks made before a
  /// failure stay ready.
  prewarm_report prewarm(const prewarm_plan& plan);
  [[nodiscard]] memory_info memory(device where) const noexcept;

  // Observation.
  /// Returns exact sums over all threads. Cost: interrupts each thread's cache once.
  [[nodiscard]] tidepool::statistics statistics() const;
  /// Says where the memory is, which tensors and threads hold it, what happened last, and what to
  /// do about the last failure. Throws std::bad_alloc. Cost: reads the record of every tensor.
  [[nodiscard]] pool_report report() const;
  /// Attaches an observer; null detaches it. Post: no further call into the previous observer
  /// begins.
  void set_observer(allocation_observer* observer) noexcept;
  /// Checks the structures of the pool and of the backends, for tests. Returns null, or the first
  /// broken invariant in words. Cost: stops every thread's cache meanwhile.
  [[nodiscard]] const char* verify() const noexcept;

  // Debug modes (pool_options::debug).
  /// Checks the bytes around all live tensors and the quarantine, reports each damage to the misuse
  /// handler and repairs it. Other threads may work meanwhile. Returns the number of damages, 0 if
  /// no debug mode is on. Cost: reads all guards and the whole quarantine.
  std::size_t check_memory() noexcept;
  /// Lists the live tensors by category, name and, where recorded, call site, most bytes first. It
  /// needs no debug mode. Throws std::bad_alloc. Cost: reads all records.
  [[nodiscard]] leak_report leaks() const;
  [[nodiscard]] tidepool::debug_counts debug_counts() const noexcept;

 private:
  friend class pool;
  explicit pool_control(detail::pool_core* core) noexcept : core_(core) {}
  detail::pool_core* core_;
};

inline pool_control pool::control() const noexcept {
  return pool_control{core_};
}

}  // namespace v0
}  // namespace tidepool
