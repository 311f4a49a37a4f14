// SPDX-License-Identifier: Apache-2.0
//
// Memory for work that is captured into a graph and replayed (CUDA graphs). A replay uses the
// addresses that were there at the capture, so they must not serve anybody else meanwhile: they
// come from a graph_arena, and stay in it as long as the arena lives.
//
//   tidepool::graph_arena arena{pool, device::cuda(0)};
//   cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
//   {
//     tidepool::capture_scope scope{arena, tidepool::cuda::stream(stream)};
//     auto t = pool.allocate(bytes, device::cuda(0), {.stream = tidepool::cuda::stream(stream)});
//     ...                                  // kernels that use t
//   }                                      // t's memory is the arena's, also when t has ended
//   cudaStreamEndCapture(stream, &graph);
//
// Within a scope, tensors that are allocated on the stream come from the arena, and when they end,
// their memory serves the same stream in the order of the capture. What is allocated outside never
// comes from an arena. A stream that captures without a scope gets errc::stream_captures wherever
// the pool has to ask the driver, and in checked builds (TIDEPOOL_ASSERT_LEVEL >= 2) at every
// allocation; others do not see it where the thread has memory ready: do not allocate there.
//
// An arena may be used for several captures, one after the other or of graphs that are never
// replayed at once: they share the memory. Streams that are captured into one graph need an arena
// each, as one arena orders nothing between streams.
//
// Thread safety: objects are not; different ones may be used at once. Pre: the pool outlives them.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>

#include <cstddef>
#include <utility>

namespace tidepool {
inline namespace v0 {

class pool;

namespace detail {
class pool_core;
struct lane;
}  // namespace detail

class TIDEPOOL_EXPORT graph_arena {
 public:
  /// Owns nothing.
  graph_arena() noexcept = default;
  /// Throws error: unknown_device, unsupported (the device orders no streams), too_many.
  graph_arena(pool& of, device where);
  [[nodiscard]] static result<graph_arena> try_create(pool& of, device where) noexcept;
  graph_arena(graph_arena&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)), lane_(std::exchange(other.lane_, nullptr)) {}
  graph_arena& operator=(graph_arena&& other) noexcept;
  graph_arena(const graph_arena&) = delete;
  graph_arena& operator=(const graph_arena&) = delete;
  ~graph_arena() { reset(); }

  /// Gives the memory back, in the order of `last`: the stream of the last replay, or the device's
  /// default stream. Pre: no graph that uses it is replayed afterwards; no scope is open. Tensors
  /// of the arena that are still alive stay, and are ordinary ones from now on.
  void reset(const stream_ref& last = {}) noexcept;
  /// Free bytes in it for the next capture, without those that threads have ready.
  [[nodiscard]] std::size_t free_bytes() const noexcept;
  [[nodiscard]] explicit operator bool() const noexcept { return lane_ != nullptr; }

 private:
  friend class capture_scope;
  graph_arena(detail::pool_core* core, detail::lane* arena) noexcept : core_(core), lane_(arena) {}

  detail::pool_core* core_ = nullptr;
  detail::lane* lane_ = nullptr;
};

/// From here to its end, what is allocated on the stream comes from the arena.
class TIDEPOOL_EXPORT capture_scope {
 public:
  /// Throws error: invalid_argument (the stream is in a scope, the arena in use or empty, or it is
  /// no stream of the arena's device). Pre: no other thread uses the stream meanwhile.
  capture_scope(graph_arena& arena, const stream_ref& stream);
  [[nodiscard]] static result<capture_scope> try_create(graph_arena& arena,
                                                        const stream_ref& stream) noexcept;
  capture_scope(capture_scope&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)),
        stream_(std::exchange(other.stream_, nullptr)),
        arena_(std::exchange(other.arena_, nullptr)) {}
  capture_scope& operator=(capture_scope&&) = delete;
  capture_scope(const capture_scope&) = delete;
  capture_scope& operator=(const capture_scope&) = delete;
  ~capture_scope();

 private:
  capture_scope(detail::pool_core* core, detail::lane* stream, detail::lane* arena) noexcept
      : core_(core), stream_(stream), arena_(arena) {}

  detail::pool_core* core_ = nullptr;
  detail::lane* stream_ = nullptr;
  detail::lane* arena_ = nullptr;
};

}  // namespace v0
}  // namespace tidepool
