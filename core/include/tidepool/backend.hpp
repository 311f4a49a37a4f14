// SPDX-License-Identifier: Apache-2.0
//
// backend: the small interface through which core reaches memory. A backend hands out blocks and
// takes them back, always in batches or rarely; it never sees a tensor. Core keeps blocks ready, so
// none of these functions is on a hot path and one virtual call is nothing here.
//
// Thread safety: every function may be called by several threads at once, except attach, which is
// called once before all others. No function throws. None may call back into the pool, except
// through backend_host.
#pragma once

#include <tidepool/access_record.hpp>
#include <tidepool/attributes.hpp>
#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/info.hpp>
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>
#include <tidepool/transfer.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace tidepool {
inline namespace v0 {

/// A piece of device memory. `cookie` is the backend's own provenance tag and comes back verbatim.
struct block {
  void* data = nullptr;
  std::size_t bytes = 0;  ///< length, a multiple of the device's alignment
  std::uint64_t cookie = 0;
};

struct block_request {
  device where = {};
  std::size_t bytes = 0;      ///< >= 1
  std::size_t alignment = 0;  ///< power of two >= the device's alignment
  stream_ref stream = {};
  /// May the backend take more memory from the system? If not: only what it already holds.
  bool may_grow = true;
  /// The caller expects the block to live long (weights): exact length before reuse.
  bool long_lived = false;
  /// For a stream that is being captured into a graph: memory for which no stream has to wait, got
  /// by no call that the capture would record or refuse. Without it a backend answers
  /// stream_captures when the stream captures.
  bool for_capture = false;
};

struct memory_info {
  std::size_t reserved_bytes = 0;      ///< claimed from backend_host and backed
  std::size_t free_bytes = 0;          ///< of these, not in blocks handed out
  std::size_t largest_free_bytes = 0;  ///< largest block that needs no growth
  std::size_t pending_bytes = 0;       ///< of the free ones, what a stream has still to come to
  std::size_t address_space_bytes = 0;
  std::uint64_t system_calls = 0;  ///< memory calls to the system or driver so far
  /// Of the physical device: what neither it has free nor the driver holds for this backend. What
  /// a driver needs for itself in this process is in it, too. 0: unknown.
  std::size_t foreign_bytes = 0;
};

/// Services that core gives to a backend. Outlives it. Thread-safe, never blocks, never throws.
class TIDEPOOL_EXPORT backend_host {
 public:
  /// Ask before backing `bytes` more; false: the limit forbids it, answer errc::over_budget.
  [[nodiscard]] virtual bool claim(device where, std::size_t bytes) noexcept = 0;
  /// After giving `bytes` back to the system, or when backing them failed.
  virtual void unclaim(device where, std::size_t bytes) noexcept = 0;

 protected:
  ~backend_host() = default;
};

class TIDEPOOL_EXPORT backend {
 public:
  backend() = default;
  backend(const backend&) = delete;
  backend& operator=(const backend&) = delete;
  /// All blocks were taken back before, or the process no longer needs them: releases everything.
  virtual ~backend();

  /// The devices served, at least one. Constant after construction.
  [[nodiscard]] virtual std::span<const device_description> devices() const noexcept = 0;

  /// Called once by the pool that takes ownership.
  virtual void attach(backend_host& host) noexcept = 0;

  /// Fills blocks[0..n) with n <= blocks.size() blocks of exactly request.bytes bytes (a size class
  /// up to 1 MiB). Post: n == blocks.size(), or `why` says what stopped it after n blocks.
  struct refill_result {
    std::size_t count = 0;
    status why = {};
  };
  [[nodiscard]] virtual refill_result refill(const block_request& request,
                                             std::span<block> blocks) noexcept = 0;

  /// One block of at least request.bytes bytes: rounded to pages, and by up to 1/32 more unless
  /// request.long_lived, so that tensors that grow slowly find their blocks again.
  [[nodiscard]] virtual result<block> allocate_large(const block_request& request) noexcept = 0;

  /// Takes blocks back, of any sizes, in the order of `stream`: work enqueued there so far may use
  /// them. Blocks that the host may touch (host_accessible) are in nobody's use when no stream is
  /// named. Never fails; a failed give-back to the system is retried by the next trim.
  virtual void take_back(device where, std::span<const block> blocks,
                         stream_ref stream) noexcept = 0;
  /// The same for a block that several streams have used: all of them may, so far. Pre: streams is
  /// not empty. Default: take_back in the order of the first.
  virtual void take_back_after(device where, const block& what,
                               std::span<const stream_ref> streams) noexcept;

  // Streams, of devices that are stream-ordered. A stream_ref without a stream is the device's
  // default one.
  /// A number of the stream that no other stream has or will have: handles are given again after a
  /// stream is destroyed, numbers are not. Default: the handle.
  [[nodiscard]] virtual result<std::uint64_t> stream_id(device where,
                                                        const stream_ref& stream) noexcept;
  /// The stream will be destroyed, and is not named again. All its blocks were taken back; what
  /// others have to wait for is recorded now. Default: nothing.
  virtual void retire(device where, const stream_ref& stream) noexcept;
  /// What is enqueued on `later` from now on runs after what is enqueued on `earlier` so far.
  /// Default: nothing to order.
  [[nodiscard]] virtual status order(device where, const stream_ref& earlier,
                                     const stream_ref& later) noexcept;

  /// Whether the stream is being captured into a graph; false if that cannot be said. Asked at
  /// every allocation in builds with TIDEPOOL_ASSERT_LEVEL >= 2, of device memory whose frees
  /// streams order, by the thread that allocates and with no lock held; the call to a driver that
  /// it takes is not counted in memory_info. Default: false.
  [[nodiscard]] virtual bool is_capturing(device where, const stream_ref& stream) const noexcept;

  /// Gives free memory back to the system until reserved <= keep_bytes or nothing free is left.
  /// Returns the bytes given back.
  virtual std::size_t trim(device where, std::size_t keep_bytes) noexcept = 0;

  /// Lets memory that stayed free for long go; called now and then by pool_control::tick. Default:
  /// nothing.
  virtual std::size_t decay(device where) noexcept;

  [[nodiscard]] virtual memory_info memory(device where) const noexcept = 0;

  /// Grows a block in place to at least `bytes`; answers the new length. Default: unsupported.
  [[nodiscard]] virtual result<std::size_t> extend(device where, const block& what,
                                                   std::size_t bytes) noexcept;

  /// Makes the pages of the blocks present. Returns how many bytes of the blocks are present now,
  /// whatever the size of a page: fewer than the blocks have where the system refused. Default: 0.
  virtual std::size_t populate(device where, std::span<const block> blocks,
                               unsigned threads) noexcept;

  /// dst and src are memory of `where` or host memory. Default: memmove where host accessible,
  /// else unsupported.
  [[nodiscard]] virtual status copy(device where, void* dst, const void* src, std::size_t bytes,
                                    stream_ref stream) noexcept;
  /// Sets every byte. Default: memset where host accessible, else unsupported.
  [[nodiscard]] virtual status fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                                    stream_ref stream) noexcept;
  /// Moves managed memory to `to`, in the order of the stream. Default: unsupported.
  [[nodiscard]] virtual status prefetch(device where, std::span<const std::byte> range, device to,
                                        stream_ref stream) noexcept;
  /// Default: unsupported.
  [[nodiscard]] virtual status advise(device where, std::span<const std::byte> range,
                                      const advice_request& request) noexcept;
  /// Waits for all work of the stream. Default: nothing to wait for.
  [[nodiscard]] virtual status synchronise(device where, stream_ref stream) noexcept;

  /// Kernels for tables of access records that suit this processor; valid as long as the process.
  /// The pool takes those of its first backend that has any. Default: null, core's own.
  [[nodiscard]] virtual const access_kernels* kernels_for_access() const noexcept;

  /// Walks the backend's structures; null, or the first broken invariant in words (static text).
  /// Slow; for tests and debug level 3. Default: null.
  [[nodiscard]] virtual const char* verify() const noexcept;
};

}  // namespace v0
}  // namespace tidepool
