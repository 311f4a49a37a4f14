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

#include <tidepool/access.hpp>
#include <tidepool/attributes.hpp>
#include <tidepool/backend.hpp>
#include <tidepool/debug.hpp>
#include <tidepool/detail/allocate.hpp>
#include <tidepool/device.hpp>
#include <tidepool/error.hpp>
#include <tidepool/export.hpp>
#include <tidepool/ids.hpp>
#include <tidepool/info.hpp>
#include <tidepool/limits.hpp>
#include <tidepool/observer.hpp>
#include <tidepool/options.hpp>
#include <tidepool/prewarm.hpp>
#include <tidepool/report.hpp>
#include <tidepool/result.hpp>
#include <tidepool/statistics.hpp>
#include <tidepool/stream.hpp>
#include <tidepool/tensor.hpp>
#include <tidepool/transfer.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace tidepool {
inline namespace v0 {

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

  /// These touch the record only, never the data. A category asked for later gives no entry: see
  /// track.
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

  // Access entries (access.hpp).
  /// Gives a tensor an entry, and parts != 0 entries of its parts, which then stand for it in
  /// queries. Repeating it changes nothing. stale_id; invalid_argument: it has another number of
  /// parts, or is bound; out_of_memory.
  errc track(tensor_id id, std::uint32_t parts = 0) noexcept;
  /// invalid_argument, unknown_device, out_of_memory; too_many: 1024 domains were made so far.
  /// Cost: standalone elements are written, the others' memory is only reserved (48 bytes each).
  [[nodiscard]] result<domain> make_domain(const domain_options& options) noexcept;
  /// Its elements are bound to nothing any more; their counts stay with their entries. not_found.
  errc drop_domain(domain which) noexcept;
  /// Elements first, first + 1, ... stand for these tensors from now on, for none where an id is
  /// empty. An entry that was at another element leaves that one. Batches recorded before count for
  /// the entries that the elements had then, whose counts stay with them. All or nothing: stale_id,
  /// not_found, invalid_argument (beyond the domain, standalone, a tensor with parts).
  /// Cost: waits for batches that other threads are adding to these tables.
  errc bind(domain to, std::size_t first, std::span<const tensor_id> ids) noexcept;
  /// The same for parts of one tensor.
  errc bind_parts(domain to, std::size_t first, tensor_id id, part_range parts = {}) noexcept;
  /// Adds what was used to the entries. What could not be added is counted in the answer and
  /// changes nothing. invalid_argument: sizes that do not fit together; not_found: no such domain;
  /// out_of_memory: none for bits in mode once; in all three cases nothing was recorded. Threads
  /// never wait for each other with up to 1024 ids, unless the log (64 KiB for each eighth of the
  /// threads) is full. Cost: one uncontended lock and about 1 ns for each id, see core/README.md.
  result<access_report> record_access(const access_batch& batch) noexcept;
  /// Adds at once what threads left for each other. Queries do it by themselves.
  void flush_access() noexcept;
  /// All queries see every batch whose record_access returned before. not_found: no entry.
  [[nodiscard]] result<access_info> access(tensor_id id,
                                           std::uint32_t part = whole_tensor) const noexcept;
  [[nodiscard]] result<access_info> access(domain within, std::uint64_t index) const noexcept;
  /// The first out.size() entries in order, coldest or hottest first; how many there were. Cost: a
  /// look at every entry (4 to 6 ns by tick, see bench/README.md), more for each that enters the
  /// best so far or equals the last of them in the order; nothing is allocated.
  [[nodiscard]] std::size_t coldest(std::span<access_info> out,
                                    access_order by = access_order::tick,
                                    const access_filter& filter = {}) const noexcept;
  [[nodiscard]] std::size_t hottest(std::span<access_info> out,
                                    access_order by = access_order::tick,
                                    const access_filter& filter = {}) const noexcept;
  /// Entries last used before `tick`: how many, and the coldest of them.
  [[nodiscard]] access_selection older_than(std::uint64_t tick, std::span<access_info> out,
                                            const access_filter& filter = {}) const noexcept;
  /// All entries, coldest first. Throws std::bad_alloc.
  [[nodiscard]] std::vector<access_info> ranked(access_order by,
                                                const access_filter& filter = {}) const;
  /// By number of category.
  [[nodiscard]] std::array<category_accesses, 256> accesses_by_category(
      const access_filter& filter = {}) const noexcept;
  [[nodiscard]] access_ages age_histogram(const access_filter& filter = {}) const noexcept;
  [[nodiscard]] access_totals total_accesses() const noexcept;
  /// Fetches the first bytes of these tensors' data into this processor's cache, where it can read
  /// them; dead ids are ignored. A hint.
  void prefetch(std::span<const tensor_id> ids, std::size_t bytes = 64) const noexcept;
  /// Null detaches. Pre: no other thread records meanwhile.
  void set_access_predictor(access_predictor* predictor) noexcept;

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
  /// Ends allocation; frees still work. Gives all free memory back. Answers the number of live
  /// tensors, with close_mode::force of those that it ended. Waits for operations of other threads.
  /// Within a callback of this pool it answers the tensors alive and waits for nothing: the last
  /// operation under way, often the one around the callback, then closes. Idempotent; force may
  /// follow. Cost: a look at every slot ever used.
  std::size_t close(close_mode how = close_mode::orderly) noexcept;
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
  friend class graph_arena;
  explicit pool(detail::pool_core* core) noexcept : core_(core) {}
  detail::pool_core* core_;
};

}  // namespace v0
}  // namespace tidepool
