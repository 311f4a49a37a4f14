// SPDX-License-Identifier: Apache-2.0
//
// Options of allocations and of pools: aggregates for designated initialisers. Every default is
// right for a program that does not care.
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

/// Options of an allocation, beside size and device.
///   auto t = pool.allocate(bytes, device::cuda(0), {.stream = s, .category = category::weight});
struct allocation_options {
  stream_ref stream = {};  ///< work on this stream may use the memory at once
  tidepool::category category = category::temporary;
  tidepool::lifecycle lifecycle = lifecycle::automatic;
  bool movable = false;       ///< the pool may move it while it is not pinned
  bool tracked = false;       ///< give it an access entry even if its category has none
  name_id name = {};          ///< from pool::intern
  std::size_t alignment = 0;  ///< bytes, a power of two; 0: the device's default
  std::uint64_t key = 0;      ///< caller's own id for pool::find(key); 0: none

  /// True when only stream and name are set and the category is a built-in temporary one. Such
  /// tensors take the shortest path.
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
  /// The pool calls it once, outside every lock, when the last reference has ended. It may be null
  /// and must not throw.
  void (*release)(void* data, std::size_t bytes, void* context) = nullptr;
  void* context = nullptr;
};

/// Is told of misuse: double, stale, foreign and forged frees, uses of dead ids. The pool calls it
/// outside every lock, on the thread that misused the pool. It must not throw.
using misuse_handler = void (*)(const misuse_report& report, void* context);

/// Frees tensors of the pool that the application can spare, and returns how many bytes it freed.
/// After an answer of 0 it is not called again for the same allocation. The pool calls it on the
/// allocating thread and holds no lock meanwhile. An allocation that the handler itself makes fails
/// rather than call the handler again. It must not throw.
using reclaim_handler = std::size_t (*)(const reclaim_request& request, void* context);

/// Chooses a device for placement::automatic. It must return a device of the pool.
using placement_policy = device (*)(std::size_t bytes, const allocation_options& options,
                                    void* context);

/// What becomes of live tensors when a pool is closed.
enum class close_mode : std::uint8_t {
  orderly,  ///< they stay, and so does their memory, until they are freed
  /// They end at once, even if they have several references. Blocks go back to the backends, each
  /// release callback is called once, and all ids become stale. A later free, also one by a
  /// tensor's destructor, is reported as misuse_kind::after_close. The pool's records stay until
  /// all handles are gone; tensor memory does not. Pre: no thread or device touches the data any
  /// more.
  force,
};

/// How a pool is set up. A byte figure may be 0 only where its comment says so.
struct pool_options {
  /// Most bytes that each device may reserve, caches included. SIZE_MAX means no limit. limits.hpp
  /// explains hard and soft limits; pool_control::set_limits changes them, also for one device.
  std::size_t limit_bytes = SIZE_MAX;
  std::size_t soft_limit_bytes = SIZE_MAX;
  /// The same for all devices of the pool together.
  std::size_t total_limit_bytes = SIZE_MAX;
  std::size_t total_soft_limit_bytes = SIZE_MAX;
  /// The pool asks it to free tensors before an allocation fails or passes a soft limit. May be
  /// null.
  reclaim_handler reclaim = nullptr;
  void* reclaim_context = nullptr;
  /// Least alignment of every allocation, a power of two. The device's own alignment applies if it
  /// is larger.
  std::size_t minimum_alignment = 0;
  /// Most free bytes that one thread keeps ready: a quarter of it in blocks up to 1 MiB, the rest
  /// in larger blocks. One larger block is always allowed. With 0, threads keep nothing.
  std::size_t thread_cache_bytes = std::size_t{128} << 20;
  /// Most free bytes that all threads of the pool together keep ready.
  std::size_t total_cache_bytes = std::size_t{512} << 20;
  /// Most free bytes that the pool itself keeps ready for each device; further blocks go back to
  /// the backend's heap. Pre-warmed blocks do not count.
  std::size_t ready_bytes = std::size_t{32} << 20;
  /// Most tensors that are alive or ready at once, at most 2^25. The pool rounds it up to a power
  /// of two, at least 4096. Each costs 128 bytes of address space, but no memory before it is used.
  std::size_t max_tensors = std::size_t{1} << 22;
  /// Most lanes for which threads keep blocks ready, at most 4096. A lane is a device that is used,
  /// or a stream of a device; further lanes work without caches. The first 32 lanes have the
  /// shortest path. A lane costs a thread memory for the sizes that it uses there.
  std::size_t max_cached_lanes = 4096;
  /// Take blocks back from threads by membarrier(2). If this is false, if the environment says
  /// TIDEPOOL=no_membarrier, or if the kernel refuses the call, each operation runs a fence
  /// instead.
  bool membarrier = true;
  misuse_handler on_misuse = nullptr;  ///< null: one message on stderr, later misuses only count
  void* misuse_context = nullptr;
  placement_policy placement = nullptr;  ///< null: the first device of the first backend
  void* placement_context = nullptr;
  /// Ticks after which an access has lost half of its weight in scores (access.hpp). With 0 there
  /// are no scores.
  std::uint64_t access_half_life = 0;
  debug_options debug = {};  ///< all off; the environment variable TIDEPOOL adds to it
};

}  // namespace v0
}  // namespace tidepool
