// SPDX-License-Identifier: Apache-2.0
//
// backend: the small interface through which core gets memory. A backend hands out blocks and takes
// them back; it never sees a tensor. Core keeps blocks ready and calls a backend rarely or for many
// blocks at once. So no function here is on a hot path, and the cost of a virtual call is no
// matter.
//
// Thread safety: several threads may call every function at once, except attach, which the pool
// calls once before all others. No function throws, and none may call the pool, except through
// backend_host.
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

/// A piece of device memory. The backend recognises it by `cookie`, which core returns unchanged.
struct block {
  void* data = nullptr;
  std::size_t bytes = 0;  ///< length, a multiple of the device's alignment
  std::uint64_t cookie = 0;
};

/// Work of a stream that could not be told. What is taken back in its order serves again when all
/// work that the device has by now is known to be complete.
[[nodiscard]] constexpr stream_ref untold_stream() noexcept {
  return {nullptr, stream_kind::ordinary, UINT32_MAX};
}

/// Answers to a request: errc::not_found if the handle of request.stream is another stream's by now
/// than the one that was named with this number before. The pool retires the old stream then, and
/// asks again.
struct block_request {
  device where = {};
  std::size_t bytes = 0;      ///< >= 1
  std::size_t alignment = 0;  ///< power of two >= the device's alignment
  stream_ref stream = {};
  /// May the backend take more memory from the system? If false, it uses only what it holds.
  bool may_grow = true;
  /// The caller expects the block to live long (weights), so an exact length matters more than a
  /// length that is easy to reuse.
  bool long_lived = false;
  /// The stream is being captured. Return memory that no stream still uses, and make no call that a
  /// capture records or forbids. If this is false and the stream is captured all the same, answer
  /// errc::stream_captures, unless memory that is free in the stream's own order serves: to find
  /// the capture would take a driver call for each request.
  bool for_capture = false;
};

struct memory_info {
  std::size_t reserved_bytes = 0;      ///< claimed from backend_host and backed
  std::size_t free_bytes = 0;          ///< of these, not in blocks handed out
  std::size_t largest_free_bytes = 0;  ///< largest block that needs no growth
  std::size_t pending_bytes = 0;       ///< of free_bytes, freed but not yet passed by a stream
  std::size_t address_space_bytes = 0;
  std::uint64_t system_calls = 0;  ///< memory calls to the system or driver so far
  /// Bytes of the physical device that are neither free nor held for this backend. They include
  /// what the driver itself needs in this process. 0: unknown.
  std::size_t foreign_bytes = 0;
};

/// Services that core offers to a backend, which does not outlive them. Every function is
/// thread-safe, never blocks and never throws.
class TIDEPOOL_EXPORT backend_host {
 public:
  /// The backend asks here before it backs `bytes` bytes more. If the answer is false, a limit
  /// forbids it, and the backend answers errc::over_budget.
  [[nodiscard]] virtual bool claim(device where, std::size_t bytes) noexcept = 0;
  /// The backend says that it gave `bytes` bytes back to the system or failed to back them.
  virtual void unclaim(device where, std::size_t bytes) noexcept = 0;

 protected:
  ~backend_host() = default;
};

class TIDEPOOL_EXPORT backend {
 public:
  backend() = default;
  backend(const backend&) = delete;
  backend& operator=(const backend&) = delete;
  /// Releases everything. Pre: all blocks were taken back, or the process no longer needs them.
  virtual ~backend();

  /// The devices served, at least one. Constant after construction.
  [[nodiscard]] virtual std::span<const device_description> devices() const noexcept = 0;

  /// The pool that takes ownership calls it once.
  virtual void attach(backend_host& host) noexcept = 0;

  /// Fills blocks[0..count) with blocks of exactly request.bytes bytes, which is a size class up to
  /// 1 MiB. Post: count == blocks.size(), or `why` says what stopped it after `count` blocks.
  struct refill_result {
    std::size_t count = 0;
    status why = {};
  };
  [[nodiscard]] virtual refill_result refill(const block_request& request,
                                             std::span<block> blocks) noexcept = 0;

  /// Returns one block of at least request.bytes bytes, rounded up to pages. Unless
  /// request.long_lived is set, the length is rounded up by at most 1/32 more, so that a tensor
  /// that grows slowly can reuse its former blocks.
  [[nodiscard]] virtual result<block> allocate_large(const block_request& request) noexcept = 0;

  /// Takes blocks of any sizes back in the order of `stream`: work that is enqueued there by now
  /// may still use them. A call without a stream says that no stream uses these blocks, if the host
  /// may touch them (host_accessible). It never fails: the next trim repeats a failed return of
  /// memory to the system.
  virtual void take_back(device where, std::span<const block> blocks,
                         stream_ref stream) noexcept = 0;
  /// Takes back one block that work on several streams may still use. Pre: streams is not empty.
  /// Default: take_back in the order of the first.
  virtual void take_back_after(device where, const block& what,
                               std::span<const stream_ref> streams) noexcept;

  // Streams of stream-ordered devices. A stream_ref without a stream means the device's default
  // stream.
  /// Returns a number that no other stream has or will have. A driver may give the handle of a
  /// destroyed stream to a new one; the number tells them apart. If stream.number is set, it names
  /// this stream from now on, until retire: the pool calls once more when it has given a number, so
  /// the backend notices when the handle comes again. Error: stream_captures, if it must not be
  /// asked now. Default: the handle.
  [[nodiscard]] virtual result<std::uint64_t> stream_id(device where,
                                                        const stream_ref& stream) noexcept;
  /// Says that the stream will be destroyed and is not named again. All its blocks were taken back
  /// before. The backend records now what other streams have to wait for. Default: nothing.
  virtual void retire(device where, const stream_ref& stream) noexcept;
  /// Makes work that is enqueued on `later` from now on run after the work that `earlier` has by
  /// now. Default: nothing to order.
  [[nodiscard]] virtual status order(device where, const stream_ref& earlier,
                                     const stream_ref& later) noexcept;

  /// Is the stream being captured into a graph? The answer is false if the backend cannot know.
  /// Builds with TIDEPOOL_ASSERT_LEVEL >= 2 ask at every allocation on a stream-ordered device, in
  /// the allocating thread and with no lock held. memory_info does not count the driver call that
  /// this takes. Default: false.
  [[nodiscard]] virtual bool is_capturing(device where, const stream_ref& stream) const noexcept;
  /// Is the handle that of another stream than the one with this number? The answer is false if the
  /// backend cannot know. Builds with TIDEPOOL_ASSERT_LEVEL >= 2 ask at every allocation on an
  /// ordinary stream that does not capture. memory_info does not count the driver call. Default:
  /// false.
  [[nodiscard]] virtual bool is_recycled(device where, const stream_ref& stream,
                                         std::uint64_t id) const noexcept;

  /// Tells that a capture_scope is open for the stream, or no more. Meanwhile any thread may begin
  /// to capture it at any time, so the backend asks the stream nothing for other streams and
  /// records nothing on it. Default: nothing.
  virtual void set_capture_scope(device where, const stream_ref& stream, bool is_open) noexcept;

  /// Gives free memory back to the system until reserved <= keep_bytes or nothing free is left.
  /// Returns the bytes given back.
  virtual std::size_t trim(device where, std::size_t keep_bytes) noexcept = 0;

  /// Gives memory back that stayed free for long; pool_control::tick calls it now and then. Returns
  /// the bytes given back. Default: nothing.
  virtual std::size_t decay(device where) noexcept;

  [[nodiscard]] virtual memory_info memory(device where) const noexcept = 0;

  /// Grows a block in place to at least `bytes` bytes. Returns the new length. Default:
  /// unsupported.
  [[nodiscard]] virtual result<std::size_t> extend(device where, const block& what,
                                                   std::size_t bytes) noexcept;

  /// Makes the pages of the blocks present. Returns how many bytes of the blocks are present now,
  /// which are fewer than their lengths if the system refused some. Default: 0.
  virtual std::size_t populate(device where, std::span<const block> blocks,
                               unsigned threads) noexcept;

  /// Copies bytes. Pre: dst and src are memory of `where` or of the host. Default: memmove if the
  /// memory is host accessible, else unsupported.
  [[nodiscard]] virtual status copy(device where, void* dst, const void* src, std::size_t bytes,
                                    stream_ref stream) noexcept;
  /// Sets every byte. Default: memset if the memory is host accessible, else unsupported.
  [[nodiscard]] virtual status fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                                    stream_ref stream) noexcept;
  /// Moves managed memory to `to`, in the order of the stream. Default: unsupported.
  [[nodiscard]] virtual status prefetch(device where, std::span<const std::byte> range, device to,
                                        stream_ref stream) noexcept;
  /// Tells the driver how managed memory will be used. Default: unsupported.
  [[nodiscard]] virtual status advise(device where, std::span<const std::byte> range,
                                      const advice_request& request) noexcept;
  /// Waits for all work of the stream. If its handle is another stream's by now, waits for the
  /// whole device. Default: nothing to wait for.
  [[nodiscard]] virtual status synchronise(device where, stream_ref stream) noexcept;

  /// Returns kernels for tables of access records that suit this processor; they stay valid as long
  /// as the process. The pool uses those of the first backend that has any. Default: null, which
  /// means core's own.
  [[nodiscard]] virtual const access_kernels* kernels_for_access() const noexcept;

  /// Checks the backend's structures, for tests and debug level 3. Returns null, or the first
  /// broken invariant in words (static text). Cost: slow. Default: null.
  [[nodiscard]] virtual const char* verify() const noexcept;
};

}  // namespace v0
}  // namespace tidepool
