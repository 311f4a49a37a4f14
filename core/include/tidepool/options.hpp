// SPDX-License-Identifier: Apache-2.0
//
// Options of allocations and of pools: aggregates for designated initialisers. Leaving all out is
// always right.
#pragma once

#include <tidepool/attributes.hpp>
#include <tidepool/debug_options.hpp>
#include <tidepool/device.hpp>
#include <tidepool/ids.hpp>
#include <tidepool/stream.hpp>

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {

struct misuse_report;
struct reclaim_request;

/// What an allocation may say beyond size and device.
///   auto t = pool.allocate(bytes, device::cuda(0), {.stream = s, .category = category::weight});
struct allocation_options {
  stream_ref stream = {};  ///< the memory is usable in this stream's order
  tidepool::category category = category::temporary;
  tidepool::lifecycle lifecycle = lifecycle::automatic;
  bool movable = false;       ///< the pool may move it while it is not pinned
  bool tracked = false;       ///< give it an access entry even if its category has none
  name_id name = {};          ///< from pool::intern
  std::size_t alignment = 0;  ///< bytes, a power of two; 0: the device's default
  std::uint64_t key = 0;      ///< caller's own id for pool::find(key); 0: none

  /// True when nothing but stream and name is asked for and the category is a built-in temporary
  /// one: such tensors take the shortest path.
  [[nodiscard]] constexpr bool is_plain() const noexcept {
    return static_cast<std::uint8_t>(category) < 8 &&
           (lifecycle == lifecycle::automatic || lifecycle == lifecycle::temporary) && !movable &&
           !tracked && alignment <= cache_line_alignment && key == 0 &&
           (alignment & (alignment - 1)) == 0;
  }

 private:
  static constexpr std::size_t cache_line_alignment = 64;
};

/// Options of pool::adopt.
struct adopt_options {
  tidepool::category category = category::other;
  tidepool::lifecycle lifecycle = lifecycle::automatic;
  bool tracked = false;
  name_id name = {};
  std::uint64_t key = 0;
  /// Called once when the last reference is gone, outside every lock; may be null. Must not throw.
  void (*release)(void* data, std::size_t bytes, void* context) = nullptr;
  void* context = nullptr;
};

/// Handles misuse: double, stale, foreign and forged frees, uses of dead ids. Called outside every
/// lock, on the thread that did it. Must not throw.
using misuse_handler = void (*)(const misuse_report& report, void* context);

/// Frees what it can spare (from the same pool, with its functions) and answers how many bytes, 0
/// for none: then it is not called again for this allocation. Called on the allocating thread with
/// no lock of the pool held. Allocations that it makes itself fail rather than call it again. Must
/// not throw.
using reclaim_handler = std::size_t (*)(const reclaim_request& request, void* context);

/// Chooses a device for placement::automatic. Must answer a device that the pool has.
using placement_policy = device (*)(std::size_t bytes, const allocation_options& options,
                                    void* context);

/// What becomes of live tensors when a pool is closed.
enum class close_mode : std::uint8_t {
  orderly,  ///< they stay, and their memory with them until they are freed
  /// They end at once, whatever their references: blocks go back to the backends, release callbacks
  /// are called once, ids are stale; later frees, also by a tensor's destructor, are reported as
  /// misuse_kind::after_close. The pool's records, no tensor memory, stay until all handles are
  /// gone. Pre: nobody touches the data any more.
  force,
};

/// How a pool is set up. All byte figures may be 0 only where said.
struct pool_options {
  /// Upper bound of reserved bytes of each device, caches included. SIZE_MAX: none. limits.hpp says
  /// what hard and soft mean; pool_control::set_limits changes them, also for one device alone.
  std::size_t limit_bytes = SIZE_MAX;
  std::size_t soft_limit_bytes = SIZE_MAX;
  /// The same for all devices of the pool together.
  std::size_t total_limit_bytes = SIZE_MAX;
  std::size_t total_soft_limit_bytes = SIZE_MAX;
  /// Asked to give tensors up before an allocation fails or a soft limit is passed; may be null.
  reclaim_handler reclaim = nullptr;
  void* reclaim_context = nullptr;
  /// Alignment that every allocation has at least; raised to the device's own. Power of two.
  std::size_t minimum_alignment = 0;
  /// Bound of free bytes that one thread keeps ready: a quarter of it in blocks up to 1 MiB, the
  /// rest in larger ones, of which one is always allowed. 0: threads keep nothing.
  std::size_t thread_cache_bytes = std::size_t{128} << 20;
  /// Bound of the same over all threads of the pool.
  std::size_t total_cache_bytes = std::size_t{512} << 20;
  /// Bound of free bytes kept ready centrally per device (pre-warmed blocks not counted) before
  /// they go back to the backend's heap.
  std::size_t ready_bytes = std::size_t{32} << 20;
  /// Upper bound of tensors alive or ready at once; rounded up to a power of two of at
  /// least 4096; at most 2^25.
  /// Costs address space (128 bytes each), not memory.
  std::size_t max_tensors = std::size_t{1} << 22;
  /// Lanes (a device, or a device and a stream) that threads cache for; others work uncached.
  std::size_t max_cached_lanes = 32;
  /// Take blocks back from threads by membarrier(2). false, or TIDEPOOL=no_membarrier: by fences
  /// that each operation pays, as where the kernel refuses it.
  bool membarrier = true;
  misuse_handler on_misuse = nullptr;  ///< null: one message on stderr, then only counted
  void* misuse_context = nullptr;
  placement_policy placement = nullptr;  ///< null: the first device of the first backend
  void* placement_context = nullptr;
  /// Ticks in which an access loses half of its weight in scores (access.hpp). 0: no scores.
  std::uint64_t access_half_life = 0;
  debug_options debug = {};  ///< all off; the environment variable TIDEPOOL adds to it
};

}  // namespace v0
}  // namespace tidepool
