// SPDX-License-Identifier: Apache-2.0
//
// pool: the device-agnostic front end. The application composes it from backends; the device is
// chosen at each allocation.
//
//   tidepool::pool pool{tidepool::cpu::make_backend()};
//   auto t = pool.allocate(bytes, device::cpu(), {.name = pool.intern("blk.3.ffn")});
//
// Thread safety: every member may be called by any number of threads at once, except the
// constructors, the destructor and moves. The pool calls the user's functions (observer, misuse
// handler, adopt's release) outside every lock.
//
// Cost: an operation is "warm" when the calling thread has a fitting block ready. A warm allocation
// or free takes no lock, does no atomic read-modify-write, makes no system call and touches one
// cache line of metadata. A function whose comment names no cost takes one short lock.
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
  /// Pre: there is at least one backend, none is null, no two serve the same device, and the
  /// options are in range. Throws error (invalid_argument, too_many) or std::bad_alloc.
  explicit pool(std::vector<std::unique_ptr<backend>> backends, const pool_options& options = {});
  explicit pool(std::unique_ptr<backend> single, const pool_options& options = {});
  /// The same without exceptions.
  [[nodiscard]] static result<pool> try_create(std::vector<std::unique_ptr<backend>> backends,
                                               const pool_options& options = {}) noexcept;
  pool(pool&& other) noexcept;
  pool& operator=(pool&& other) noexcept;
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;
  /// Closes the pool. Live tensors stay usable; the pool's memory stays until the last one ends.
  ~pool();

  // Allocation.
  /// Allocates `bytes` bytes on the device `where` and does not initialise them. A tensor of zero
  /// bytes is valid; its data is null. Post: the address is aligned to options.alignment, to 64
  /// bytes and to the device's own alignment, whichever is largest. Throws out_of_memory (a limit
  /// counts as well) or error (unknown_device, invalid_argument, closed). Stream order: work on
  /// options.stream may use the memory at once. Cost: the warm path's, if a block is ready.
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
  /// The same for runtimes with tensor objects of their own. Returns the address and the id; the
  /// caller frees the tensor with deallocate(id).
  [[nodiscard]] result<raw_tensor> allocate_raw(std::size_t bytes, device where = {},
                                                const allocation_options& options = {}) noexcept {
    const raw_tensor made = detail::allocate(core_, bytes, where, options);
    if (!made.id) [[unlikely]] {
      return detail::failure_status(core_, made, bytes, where);
    }
    return made;
  }
  /// Allocates made.size() equal tensors, all or none. Returns errc::ok, or why none was allocated.
  [[nodiscard]] errc allocate_n(std::size_t bytes, std::span<raw_tensor> made, device where = {},
                                const allocation_options& options = {}) noexcept;

  /// Ends one reference. When the last one ends, the memory becomes free; on a stream-ordered
  /// device it does so in the stream's order. An empty id is ignored. Returns errc::stale_id if the
  /// id names no live tensor of this pool; then the misuse handler was called and nothing changed.
  errc deallocate(tensor_id id) noexcept { return detail::deallocate_id(core_, id); }
  errc deallocate(tensor_id id, const stream_ref& stream) noexcept;
  /// Frees all ids, also those behind one that fails. Returns the first error.
  errc deallocate_n(std::span<const tensor_id> ids) noexcept;

  /// Makes a tensor of memory that the caller owns: the pool keeps a record of it and calls
  /// options.release when the last reference ends. Pre: [data, data + bytes) stays valid until
  /// then; data is null only if bytes is 0. Throws the same as allocate.
  [[nodiscard]] tensor adopt(void* data, std::size_t bytes, device where = {},
                             const adopt_options& options = {});
  [[nodiscard]] result<tensor> try_adopt(void* data, std::size_t bytes, device where = {},
                                         const adopt_options& options = {}) noexcept;

  // References and parts.
  /// Adds one more owner of the same tensor. Error: too_many (it has 32767 references).
  [[nodiscard]] result<tensor> share(const tensor& shared) noexcept;
  /// Adds one reference, which release or deallocate ends.
  errc retain(tensor_id id) noexcept;
  errc release(tensor_id id) noexcept { return detail::deallocate_id(core_, id); }
  /// Makes bytes [offset, offset + bytes) of a tensor a tensor with an id of its own. Both share
  /// one block, which stays until the last of its tensors ends.
  /// Pre: offset + bytes <= whole.bytes().
  [[nodiscard]] result<tensor> slice(const tensor& whole, std::size_t offset,
                                     std::size_t bytes) noexcept;
  /// Returns the address, which does not change before the matching unpin. Only movable tensors
  /// need this; every tensor allows it.
  [[nodiscard]] result<void*> pin(tensor_id id) noexcept;
  errc unpin(tensor_id id) noexcept;
  /// Changes the size if the block, or the memory behind it, has room; the data never moves. Pre:
  /// the tensor has one reference and no slices, and no other thread uses its id meanwhile. Errors,
  /// after which nothing has changed: unsupported, out_of_memory.
  errc resize(tensor& resized, std::size_t bytes) noexcept;

  // Knowledge.
  /// Returns a consistent copy of the record. Cost: no lock, from any thread.
  [[nodiscard]] result<tensor_info> info(tensor_id id) const noexcept;
  /// Finds the tensor whose data begins at `data`. It finds tensors with a block of the pool and
  /// adopted ones, but no slices. If several tensors adopted the same memory, it returns one of
  /// them. Error: not_found. Cost: the first call builds an index of all addresses. Afterwards the
  /// pool updates it where blocks and adopted memory come and go, never on the warm path.
  [[nodiscard]] result<tensor_id> find(const void* data) const noexcept;
  /// Finds the tensor with this key. Error: not_found.
  [[nodiscard]] result<tensor_id> find(std::uint64_t key) const noexcept;

  /// These three change the record and never touch the data. A category that is set here gives the
  /// tensor no access entry; access_tracker::track does.
  errc set_lifecycle(tensor_id id, lifecycle state) noexcept;
  errc set_category(tensor_id id, category what) noexcept;
  errc set_name(tensor_id id, name_id name) noexcept;

  /// Returns the id of a name; equal names have the same id. Throws error (too_many) beyond 2^20
  /// names.
  [[nodiscard]] name_id intern(std::string_view name);
  [[nodiscard]] result<name_id> try_intern(std::string_view name) noexcept;
  /// Returns the name, or "" for the empty id and for an id that this pool never gave. The text is
  /// valid as long as the pool.
  [[nodiscard]] std::string_view name(name_id id) const noexcept;

  /// Makes a category of the application's own. Tensors with a lower eviction priority are evicted
  /// first. Throws error (too_many).
  [[nodiscard]] category register_category(std::string_view name, std::uint8_t eviction_priority);
  [[nodiscard]] std::string_view category_name(category what) const noexcept;
  /// Returns 0..255, where 255 means never evicted, and 0 for an unknown category.
  [[nodiscard]] std::uint8_t eviction_priority(category what) const noexcept;

  [[nodiscard]] std::span<const device_description> devices() const noexcept;

  // Streams matter on stream-ordered devices; other devices accept them and ignore them.
  //   default stream      Naming no stream, or the legacy default stream, means the device's
  //                       default stream.
  //   device memory       The stream named at allocation may use the tensor at once. When the
  //                       tensor ends, that stream reuses the memory without waiting. If another
  //                       stream gets it, the pool makes that stream wait for the first one.
  //   pinned and managed  The host touches this memory outside of every stream's order. So it is
  //                       reused once every stream named at allocation, in record_use and at the
  //                       free has passed that point; no stream still uses a new allocation.
  /// Gives a stream its dense number. Passing the returned stream_ref makes later calls cheapest. A
  /// stream that was not attached is attached at its first use. The per-thread default stream is a
  /// different stream in each thread; like the default stream it has no number (0). Errors:
  /// unknown_device, too_many (4096).
  [[nodiscard]] result<stream_ref> attach(device where, stream_ref stream) noexcept;
  /// Call this before the stream is destroyed. The memory that the pool kept for the stream becomes
  /// free for all; live tensors of the stream later end in the default stream's order, unless their
  /// free names another stream. If the call is left out and the driver gives the same handle again,
  /// the pool reports misuse_kind::unretired_stream. Pre: no other thread works on the stream
  /// meanwhile. Errors: unknown_device, not_found. Cost: interrupts each thread's cache once.
  errc retire(device where, const stream_ref& stream) noexcept;
  /// Says that work on `stream` uses the tensor as well. When the tensor ends, its memory is reused
  /// only after all work that this stream was given before the end. One call per tensor and stream
  /// is enough. It is not needed if the tensor is freed on `stream` and `stream` waits for all
  /// other work that uses the tensor. Errors: stale_id, unsupported (adopted memory),
  /// out_of_memory, too_many. Cost: one lock, and the block of such a tensor goes back to the
  /// backend at its end instead of staying ready.
  errc record_use(tensor_id id, const stream_ref& stream) noexcept;

  // Data. Pre: both tensors live until the work is done, and the data of pageable tensors does not
  // change before. Pinned and managed tensors may end earlier, since their memory waits for the
  // stream. Errors, after which nothing was enqueued: stale_id, invalid_argument (a range beyond
  // the end), unsupported, driver errors. Stream order: the work is enqueued on the stream that the
  // call names, or on the device's default one. Between tensors of host memory it is done when the
  // call returns.
  [[nodiscard]] status copy(const copy_request& request) noexcept;
  /// Copies all bytes of src to the beginning of dst. Pre: dst.bytes() >= src.bytes().
  [[nodiscard]] status copy(const tensor& dst, const tensor& src,
                            const stream_ref& stream = {}) noexcept {
    return copy({.dst = dst.id(), .src = src.id(), .stream = stream});
  }
  /// Sets every byte of the tensor to `value`.
  [[nodiscard]] status fill(tensor_id id, std::uint8_t value,
                            const stream_ref& stream = {}) noexcept;
  /// Moves managed memory to a device; device::cpu() is the host. Error: unsupported for memory
  /// that is not managed.
  [[nodiscard]] status prefetch(tensor_id id, device to, const stream_ref& stream = {}) noexcept;
  /// Tells the driver how managed memory will be used. Error: unsupported for other memory.
  [[nodiscard]] status advise(tensor_id id, const advice_request& request) noexcept;
  /// Waits until all work enqueued on the stream is done. Errors: unknown_device, device_lost.
  [[nodiscard]] status synchronise(device where, const stream_ref& stream = {}) noexcept;

  // Closing.
  /// Ends allocation and gives all free memory back; frees still work. Waits for operations of
  /// other threads, unless a callback of this pool calls it: then it waits for nothing, and the
  /// last operation under way, often the one around the callback, finishes the close. Calling it
  /// again does nothing, except that force may follow orderly. Returns the number of live tensors;
  /// with close_mode::force, of those that it ended. Cost: reads every slot ever used.
  std::size_t close(close_mode how = close_mode::orderly) noexcept;

  // The pool's other functions are in headers of their own, so that programs which only allocate do
  // not compile them. Both functions below return a handle of one pointer, which is valid as long
  // as the pool; making one costs nothing. They are const, so that a const pool can be asked for
  // its statistics. A const pool and a mutable one return the same handle: handles can be copied,
  // so constness could not protect the pool, as a const std::span does not protect its elements.
  /// Records and ranks how tensors are used. Include <tidepool/access_tracker.hpp> to call it.
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
