// SPDX-License-Identifier: Apache-2.0
//
// pool: the device-agnostic front end. The application composes it from backends; the device is
// chosen at each allocation.
//
//   tidepool::pool pool{tidepool::cpu::make_backend()};
//   auto t = pool.allocate(bytes, device::cpu(), {.name = pool.intern("blk.3.ffn")});
//
// Thread safety: every member may be called by any number of threads at once, except the
// constructors, the destructor and moves. Callbacks (observer, misuse handler, adopt's release) run
// outside every lock.
//
// Cost: "warm" below means that the calling thread has a fitting block ready: then an allocation or
// a free takes no lock, no atomic read-modify-write, no system call and touches one cache line of
// metadata. Other costs are said where they differ from "one short lock".
#pragma once

#include <tidepool/attributes.hpp>
#include <tidepool/detail/allocate.hpp>
#include <tidepool/device.hpp>
#include <tidepool/error.hpp>
#include <tidepool/export.hpp>
#include <tidepool/ids.hpp>
#include <tidepool/info.hpp>
#include <tidepool/options.hpp>
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>
#include <tidepool/tensor.hpp>
#include <tidepool/transfer.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace tidepool {
inline namespace v0 {

class access_tracker;
class backend;
class pool_control;

class TIDEPOOL_EXPORT pool {
 public:
  /// Pre: at least one backend, none null, no two serving the same device; options in range.
  /// Throws error (invalid_argument, too_many) or std::bad_alloc.
  explicit pool(std::vector<std::unique_ptr<backend>> backends, const pool_options& options = {});
  explicit pool(std::unique_ptr<backend> single, const pool_options& options = {});
  /// The same without exceptions.
  [[nodiscard]] static result<pool> try_create(std::vector<std::unique_ptr<backend>> backends,
                                               const pool_options& options = {}) noexcept;
  pool(pool&& other) noexcept;
  pool& operator=(pool&& other) noexcept;
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;
  /// Closes. Live tensors stay usable; the memory of the pool lives until the last is gone.
  ~pool();

  // Allocation.
  /// Memory for `bytes` bytes on `where`, uninitialised. Zero bytes is a valid tensor with null
  /// data. Alignment: the request's, at least 64 bytes and the device's own. Throws out_of_memory
  /// (also for a limit) or error (unknown_device, invalid_argument, closed). Stream order: usable
  /// in options.stream's order. Cost: warm path, see above.
  [[nodiscard]] tensor allocate(std::size_t bytes, device where = {},
                                const allocation_options& options = {}) {
    const raw_tensor made = detail::allocate(core_, bytes, where, options);
    if (!made.id) [[unlikely]] {
      detail::throw_failure(core_, made, bytes, where);
    }
    return tensor{core_, made.id, options.movable ? nullptr : made.data, bytes};
  }
  /// The same without exceptions.
  [[nodiscard]] result<tensor> try_allocate(std::size_t bytes, device where = {},
                                            const allocation_options& options = {}) noexcept {
    const raw_tensor made = detail::allocate(core_, bytes, where, options);
    if (!made.id) [[unlikely]] {
      return detail::failure_status(core_, made, bytes, where);
    }
    return tensor{core_, made.id, options.movable ? nullptr : made.data, bytes};
  }
  /// For runtimes with tensor objects of their own: {address, id}; freed by deallocate(id).
  [[nodiscard]] result<raw_tensor> allocate_raw(std::size_t bytes, device where = {},
                                                const allocation_options& options = {}) noexcept {
    const raw_tensor made = detail::allocate(core_, bytes, where, options);
    if (!made.id) [[unlikely]] {
      return detail::failure_status(core_, made, bytes, where);
    }
    return made;
  }
  /// made.size() tensors of one kind, all or none. Post on failure: nothing was allocated.
  [[nodiscard]] errc allocate_n(std::size_t bytes, std::span<raw_tensor> made, device where = {},
                                const allocation_options& options = {}) noexcept;

  /// Ends one reference; with the last one the memory is free (in the stream's order on
  /// stream-ordered devices). errc::stale_id: the id names no live tensor of this pool; the misuse
  /// handler was called and nothing changed. An empty id is ignored. Never throws.
  errc deallocate(tensor_id id) noexcept { return detail::deallocate_id(core_, id); }
  errc deallocate(tensor_id id, const stream_ref& stream) noexcept;
  /// Answers the first error; the other ids are freed all the same.
  errc deallocate_n(std::span<const tensor_id> ids) noexcept;

  /// Memory that the pool does not own, under a record. Pre: [data, data + bytes) is valid until
  /// release was called. data may be null only if bytes is 0. Throws as allocate.
  [[nodiscard]] tensor adopt(void* data, std::size_t bytes, device where = {},
                             const adopt_options& options = {});
  [[nodiscard]] result<tensor> try_adopt(void* data, std::size_t bytes, device where = {},
                                         const adopt_options& options = {}) noexcept;

  // References and parts.
  /// One more owner of the same tensor. too_many: 32767 references.
  [[nodiscard]] result<tensor> share(const tensor& of) noexcept;
  /// One more reference, ended by release or deallocate.
  errc retain(tensor_id id) noexcept;
  errc release(tensor_id id) noexcept { return detail::deallocate_id(core_, id); }
  /// Bytes [offset, offset + bytes) of a tensor as a tensor of its own, with its own id. It shares
  /// the block, which stays until the last part is gone. Pre: offset + bytes <= of.bytes().
  [[nodiscard]] result<tensor> slice(const tensor& of, std::size_t offset,
                                     std::size_t bytes) noexcept;
  /// The address, and a promise that it stays until the matching unpin. Needed only for movable
  /// tensors; allowed for all.
  [[nodiscard]] result<void*> pin(tensor_id id) noexcept;
  errc unpin(tensor_id id) noexcept;
  /// Changes the size without moving the data, where the block or the memory behind it has room.
  /// unsupported or out_of_memory: nothing changed. Pre: `what` has one reference and no slices,
  /// and no other thread uses its id meanwhile.
  errc resize(tensor& what, std::size_t bytes) noexcept;

  // Knowledge.
  /// A consistent copy of the record; from any thread, without a lock.
  [[nodiscard]] result<tensor_info> info(tensor_id id) const noexcept;
  /// The tensor whose data begins at `data`: with a block of the pool, or adopted (of several that
  /// adopted the same memory, one of them). Slices are not looked for. The first call builds an
  /// index of all addresses; from then on the pool keeps it up where blocks and adopted memory come
  /// and go, never on the warm path. errc::not_found.
  [[nodiscard]] result<tensor_id> find(const void* data) const noexcept;
  /// The tensor with this key. errc::not_found.
  [[nodiscard]] result<tensor_id> find(std::uint64_t key) const noexcept;

  /// These touch the record only, never the data. A category asked for later gives no access
  /// entry: see access_tracker::track.
  errc set_lifecycle(tensor_id id, lifecycle state) noexcept;
  errc set_category(tensor_id id, category what) noexcept;
  errc set_name(tensor_id id, name_id name) noexcept;

  /// The id of a name, the same for equal names; at most 2^20 names. Throws error (too_many).
  [[nodiscard]] name_id intern(std::string_view name);
  [[nodiscard]] result<name_id> try_intern(std::string_view name) noexcept;
  /// The name, "" for the empty id or one this pool never gave. Valid as long as the pool.
  [[nodiscard]] std::string_view name(name_id id) const noexcept;

  /// A category of the application's own. Lower eviction priority goes first. Throws error
  /// (too_many).
  [[nodiscard]] category register_category(std::string_view name, std::uint8_t eviction_priority);
  [[nodiscard]] std::string_view category_name(category what) const noexcept;
  /// 0..255, 255: never evicted. 0 for unknown categories.
  [[nodiscard]] std::uint8_t eviction_priority(category what) const noexcept;

  [[nodiscard]] std::span<const device_description> devices() const noexcept;

  // Streams, of devices that are stream-ordered; elsewhere they are accepted and mean nothing.
  // No stream, and the legacy default stream, are the device's default one. What is allocated on a
  // stream may be used there at once; when it ends, its memory serves the same stream without
  // waiting, and others after they have waited for it (they do so by themselves). Pinned and
  // managed memory, which the host touches in no stream's order, is free when the streams that were
  // named at allocation, record_use and the end have come there; what is allocated is in nobody's
  // use.
  /// Gives a stream its dense number; the answer makes later calls cheapest. Streams that were not
  /// attached are, at their first use. The per-thread default stream is another one in each thread
  /// and has no number (0), as the default one. Errors: unknown_device, too_many (4096).
  [[nodiscard]] result<stream_ref> attach(device where, stream_ref stream) noexcept;
  /// To be called before the stream is destroyed: what it kept goes back, and its live tensors end
  /// in the order of the default stream unless another is named. Without it, a handle that comes
  /// again is a misuse (misuse_kind::unretired_stream). Pre: no other thread works on the stream
  /// meanwhile. Errors: unknown_device, not_found. Cost: interrupts each thread's cache once.
  errc retire(device where, const stream_ref& stream) noexcept;
  /// The tensor is used by work on `stream`, too: when it ends, its memory serves others only after
  /// what that stream has been given until then. Enough once per tensor and stream. Instead of it
  /// one can end the tensor on that stream, when its own waits for it or has nothing to do with it
  /// any more. Errors: stale_id, unsupported (adopted memory), out_of_memory, too_many. Cost: a
  /// lock; and such tensors end without being kept ready.
  errc record_use(tensor_id id, const stream_ref& stream) noexcept;

  // Data. Errors: stale_id, invalid_argument (a range beyond the end), unsupported, driver errors;
  // then nothing was enqueued. Stream order: enqueued on the stream, none: the device's default
  // one; between tensors of host memory it is done when the call returns. Both tensors must live
  // until it is done there (pinned and managed ones may end: their memory waits), and the memory of
  // pageable tensors be unchanged.
  [[nodiscard]] status copy(const copy_request& request) noexcept;
  /// All bytes of src to the first of dst. Pre: dst.bytes() >= src.bytes().
  [[nodiscard]] status copy(const tensor& dst, const tensor& src,
                            const stream_ref& stream = {}) noexcept {
    return copy({.dst = dst.id(), .src = src.id(), .stream = stream});
  }
  /// Every byte of the tensor becomes `value`.
  [[nodiscard]] status fill(tensor_id id, std::uint8_t value,
                            const stream_ref& stream = {}) noexcept;
  /// Moves managed memory to a device, device::cpu() for the host. unsupported elsewhere.
  [[nodiscard]] status prefetch(tensor_id id, device to, const stream_ref& stream = {}) noexcept;
  /// How managed memory will be used. unsupported elsewhere.
  [[nodiscard]] status advise(tensor_id id, const advice_request& request) noexcept;
  /// Waits until all that was enqueued on the stream is done. Errors: unknown_device, device_lost.
  [[nodiscard]] status synchronise(device where, const stream_ref& stream = {}) noexcept;

  // Closing.
  /// Ends allocation; frees still work. Gives all free memory back. Answers the number of live
  /// tensors, with close_mode::force of those that it ended. Waits for operations of other threads.
  /// Within a callback of this pool it answers the tensors alive and waits for nothing: the last
  /// operation under way, often the one around the callback, then closes. Idempotent; force may
  /// follow. Cost: a look at every slot ever used.
  std::size_t close(close_mode how = close_mode::orderly) noexcept;

  // What else a pool can do stands in headers of its own, so that programs which only allocate do
  // not compile it. Each answer is a handle of one pointer, valid as long as the pool; making one
  // costs nothing. Both functions are const, so that a const pool can be asked for its statistics.
  // They answer the same handle either way: a handle can be copied, so a const pool could not keep
  // its holder from changing the pool, as a const std::span does not protect its elements.
  /// How tensors and their parts are used. Include <tidepool/access_tracker.hpp> to call it.
  [[nodiscard]] access_tracker accesses() const noexcept;
  /// Limits, trim, statistics, reports, observers, checks. Include <tidepool/control.hpp> to call
  /// it.
  [[nodiscard]] pool_control control() const noexcept;

 private:
  friend class graph_arena;
  explicit pool(detail::pool_core* core) noexcept : core_(core) {}
  detail::pool_core* core_;
};

}  // namespace v0
}  // namespace tidepool
