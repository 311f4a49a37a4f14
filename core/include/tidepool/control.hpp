// SPDX-License-Identifier: Apache-2.0
//
// pool_control: what an application sets and reads about a pool as a whole: limits, memory kept and
// given back, statistics and reports, observers, checks of the memory and of the pool itself.
//
//   pool.control().set_limits({.hard = std::size_t{8} << 30});
//   std::puts(to_text(pool.control().statistics()).c_str());
//
// A handle of one pointer, to be passed by value. It is valid as long as the pool is, also when the
// pool is moved meanwhile, and owns nothing. A const handle only reads.
//
// Thread safety: every function may be called by any number of threads at once. Observers are
// called outside every lock.
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
  /// Limits of one device, or of all devices together. Lower ones than what is reserved: free
  /// memory is given back at once, and until live tensors end, every growth fails. unknown_device:
  /// nothing changed. Cost: as trim, if something is to be given back.
  result<trim_report> set_limits(device where, const memory_limits& limits) noexcept;
  trim_report set_limits(const memory_limits& limits) noexcept;
  /// {0, 0} for unknown devices.
  [[nodiscard]] memory_limits limits(device where) const noexcept;
  [[nodiscard]] memory_limits limits() const noexcept;
  /// The peaks in statistics and reports count from now on.
  void reset_peaks() noexcept;
  /// Gives back what stayed free for long: the caches of threads that did nothing since the last
  /// tick, and what the backends kept. For an idle moment or a timer of the application; a ticker
  /// (ticker.hpp) calls it from a thread of its own. Cost: interrupts each thread's cache once,
  /// then system calls.
  void tick() noexcept;
  /// Gives the calling thread's ready blocks to the others.
  void thread_idle() noexcept;
  /// Makes blocks ready. Throws as allocate; blocks made before a failure stay ready.
  prewarm_report prewarm(const prewarm_plan& plan);
  [[nodiscard]] memory_info memory(device where) const noexcept;

  // Observation.
  /// Exact sums over all threads. Cost: interrupts each thread's cache once.
  [[nodiscard]] tidepool::statistics statistics() const;
  /// Where the memory is, who holds it, what happened last, and what to do about the last failure.
  /// Throws std::bad_alloc. Cost: reads the record of every tensor.
  [[nodiscard]] pool_report report() const;
  /// Null detaches. After the call returns no further call into the previous observer begins.
  void set_observer(allocation_observer* observer) noexcept;
  /// Walks the pool's and the backends' structures: null, or the first broken invariant in words.
  /// For tests; stops every cache meanwhile.
  [[nodiscard]] const char* verify() const noexcept;

  // Debug modes (pool_options::debug).
  /// Looks at the bytes around all live tensors and at the quarantine now, reports each damage to
  /// the misuse handler and mends it. The number of damages; 0 where no mode is on. Other threads
  /// may work meanwhile. Cost: reads all guards and the whole quarantine.
  std::size_t check_memory() noexcept;
  /// What is alive now, by category, name and, where recorded, call site; most bytes first. Works
  /// without debug modes too. Throws std::bad_alloc. Cost: reads all records.
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
