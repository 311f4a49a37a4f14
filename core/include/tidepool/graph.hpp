// SPDX-License-Identifier: Apache-2.0
//
// Memory for work that is captured into a graph and replayed (CUDA graphs). A replay uses the
// addresses of the capture again, so no other work may get this memory in between. It comes from a
// graph_arena and stays in it as long as the arena lives.
//
//   tidepool::graph_arena arena{pool, device::cuda(0)};
//   {
//     tidepool::capture_scope scope{arena, tidepool::cuda::stream(stream)};
//     cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
//     auto t = pool.allocate(bytes, device::cuda(0), {.stream = tidepool::cuda::stream(stream)});
//     ...                                  // kernels that use t
//     t.reset();                           // its memory stays in the arena
//     cudaStreamEndCapture(stream, &graph);
//   }
//
// Open the scope before the capture begins: a driver may not be asked which stream a handle names
// while that stream captures. A scope that is opened later works for streams that the pool knows
// already, by an allocation or by pool::attach.
//
// Streams that the capture forks into, and joins again, may use the arena's tensors: record_use and
// a free that names such a stream become edges of the graph, if the pool knows the stream. What
// other streams have used, or streams that the pool does not know, is not used again in this
// capture, but in the arena's next one.
//
// Within a scope, all allocations on the stream come from the arena. When such a tensor ends, the
// same stream reuses its memory in the order of the capture. Allocations outside of a scope never
// come from an arena.
//
// Do not allocate on a stream that is captured without a scope. The allocation fails with
// errc::stream_captures whenever the pool has to ask the driver, and in checked builds
// (TIDEPOOL_ASSERT_LEVEL >= 2) always. Other builds do not notice it if the thread has memory
// ready.
//
// Several graphs may be captured with one arena and share its memory, provided that they are never
// replayed at the same time. Streams that are captured into one graph need an arena each, because
// an arena orders nothing between streams.
//
// Thread safety: one object may be used by one thread at a time, different objects by several
// threads at once. Pre: the pool outlives the objects.
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
  graph_arena(pool& owner, device where);
  [[nodiscard]] static result<graph_arena> try_create(pool& owner, device where) noexcept;
  graph_arena(graph_arena&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)), lane_(std::exchange(other.lane_, nullptr)) {}
  graph_arena& operator=(graph_arena&& other) noexcept;
  graph_arena(const graph_arena&) = delete;
  graph_arena& operator=(const graph_arena&) = delete;
  ~graph_arena() { reset(); }

  /// Gives the memory back in the order of `last`, the stream of the last replay; none means the
  /// device's default stream. Live tensors of the arena stay and become ordinary tensors. Pre: no
  /// graph that uses the memory is replayed afterwards, and no scope is open.
  void reset(const stream_ref& last = {}) noexcept;
  /// Free bytes for the next capture, without the blocks that threads keep ready.
  [[nodiscard]] std::size_t free_bytes() const noexcept;
  [[nodiscard]] explicit operator bool() const noexcept { return lane_ != nullptr; }

 private:
  friend class capture_scope;
  graph_arena(detail::pool_core* core, detail::lane* arena) noexcept : core_(core), lane_(arena) {}

  detail::pool_core* core_ = nullptr;
  detail::lane* lane_ = nullptr;
};

/// While it lives, all allocations on the stream come from the arena.
class TIDEPOOL_EXPORT capture_scope {
 public:
  /// Pre: no other thread uses the stream meanwhile. Throws error: invalid_argument (the stream is
  /// in a scope already, the arena is in use or empty, or the stream is not one of its device),
  /// stream_captures (the stream captures already, and the pool does not know it).
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
