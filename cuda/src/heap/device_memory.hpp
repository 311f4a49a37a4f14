// SPDX-License-Identifier: Apache-2.0
//
// device_memory: all memory of one device value, e.g. device::cuda(0), from one slab_source. It
// answers requests from what is held, by growth, and last by waiting, in this order:
//   1. the stream's own heap, then memory for which nobody has to wait        no driver call
//   2. heaps of streams that this one has waited for already                  no driver call
//   3. heaps of streams whose event says that they are done      query, record once
//   4. growth (if allowed): before any wait, so that streams do not serialise
//   5. a fitting block of another stream that is only pending    record once, wait once
//   6. neighbours of several heaps together                      the same for each of them
//   7. the host waits for all that is pending, idle slabs go back, and one more growth
// A stream that captures may only get 1 without its own heap, 3 and 4.
//
// Thread safety: every function from any thread; one mutex for the structures, one more for growth.
// The driver is called without the first, so frees never wait for it; what was looked up before a
// call is looked up again afterwards.
#pragma once

#include "heap/extent_heap.hpp"
#include "heap/span_heap.hpp"
#include "heap/stream_order.hpp"
#include "slabs/slab_source.hpp"
#include <tidepool/backend.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace cuda {

struct device_memory_options {
  std::uint32_t decay_ticks = 0;  ///< 0: never
};

/// The stream that asks, and what may be done for it.
struct requester {
  stream_index stream = legacy_stream;
  bool may_wait = true;  ///< the stream may be told to wait
  bool own_heap = true;  ///< what is free in its order serves it
  bool may_grow = true;
  bool for_capture = false;
  bool is_asked = false;  ///< whether it captures; if not, only what needs no driver call serves it
};

class device_memory {
 public:
  device_memory(driver& gpu, std::unique_ptr<slab_source> source,
                const device_memory_options& options) noexcept;
  device_memory(const device_memory&) = delete;
  device_memory& operator=(const device_memory&) = delete;
  /// Waits for all that streams have freed, and for the whole device if blocks are still out. Then
  /// gives everything back, whatever is in use.
  ~device_memory();

  /// Errors: out_of_memory.
  [[nodiscard]] status prepare() noexcept;
  void attach(backend_host& host) noexcept { host_ = &host; }

  [[nodiscard]] slab_source& source() noexcept { return *source_; }
  [[nodiscard]] const slab_source& source() const noexcept { return *source_; }
  [[nodiscard]] const device_description& description() const noexcept {
    return source_->description();
  }

  // As in backend.
  [[nodiscard]] backend::refill_result refill(const block_request& request,
                                              std::span<block> blocks) noexcept;
  [[nodiscard]] result<block> allocate_large(const block_request& request) noexcept;
  void take_back(std::span<const block> blocks, const stream_ref& stream) noexcept;
  void take_back_after(const block& what, std::span<const stream_ref> streams) noexcept;
  void retire(const stream_ref& stream) noexcept;
  void set_in_scope(const stream_ref& stream, bool is_in_scope) noexcept;
  [[nodiscard]] status order(const stream_ref& earlier, const stream_ref& later) noexcept;
  [[nodiscard]] result<std::uint64_t> stream_id(const stream_ref& stream) noexcept;
  [[nodiscard]] status synchronise(const stream_ref& stream) noexcept;
  std::size_t trim(std::size_t keep_bytes) noexcept;
  std::size_t decay() noexcept;
  [[nodiscard]] memory_info memory() const noexcept;
  [[nodiscard]] result<std::size_t> extend(const block& what, std::size_t bytes) noexcept;
  [[nodiscard]] const char* verify() const noexcept;

 private:
  using lock_type = std::unique_lock<std::mutex>;
  /// How far a search goes: steps 1 and 2; with 3; with 4; with 5 and 6 instead; all.
  enum class effort : std::uint8_t { own, held, grow, wait, everything };
  struct extent_request : requester {
    extent_shape shape;
    extent_state state = extent_state::block;
    effort limit = effort::everything;
  };
  struct span_request : requester {
    std::size_t block_bytes = 0;
    std::size_t most_blocks = 0;  ///< that are wanted, 0: as many as a span has
    effort limit = effort::everything;
  };

  [[nodiscard]] status complete(const status& why, std::size_t bytes) const noexcept;
  [[nodiscard]] result<requester> begin(const block_request& request, lock_type& lock) noexcept;
  [[nodiscard]] result<requester> ask_capture(requester asks, lock_type& lock) noexcept;
  template <class F>
  [[nodiscard]] backend::refill_result serve(const block_request& request, std::size_t wanted,
                                             F&& take) noexcept;
  [[nodiscard]] result<stream_index> find(const stream_ref& stream, lock_type& lock) noexcept;
  [[nodiscard]] status make_room_for_streams(stream_index count) noexcept;

  // device_memory_obtain.cpp. Each answers an extent in use; if it finds none, 0 or an error.
  [[nodiscard]] result<std::uint32_t> obtain(const extent_request& request,
                                             lock_type& lock) noexcept;
  [[nodiscard]] result<std::uint32_t> obtain_by_growth(const extent_request& request,
                                                       lock_type& lock) noexcept;
  [[nodiscard]] result<std::uint32_t> obtain_by_waiting(const extent_request& request,
                                                        const status& refusal,
                                                        lock_type& lock) noexcept;
  [[nodiscard]] std::uint32_t take_at(const extent_place& place,
                                      const extent_request& request) noexcept;
  [[nodiscard]] std::uint32_t take_own(const extent_request& request) noexcept;
  [[nodiscard]] std::uint32_t take_held(const extent_request& request, lock_type& lock) noexcept;
  [[nodiscard]] std::uint32_t take_free(const extent_request& request) noexcept;
  [[nodiscard]] std::uint32_t take_waited(const extent_request& request) noexcept;
  [[nodiscard]] std::uint32_t take_waited(const extent_request& request, stream_index s) noexcept;
  [[nodiscard]] bool find_done(const extent_request& request, lock_type& lock) noexcept;
  [[nodiscard]] bool find_done_of_several(const extent_shape& shape, lock_type& lock) noexcept;
  [[nodiscard]] std::uint32_t take_by_wait(const extent_request& request, lock_type& lock) noexcept;
  [[nodiscard]] std::uint32_t take_pending(const extent_request& request, lock_type& lock) noexcept;
  [[nodiscard]] std::uint32_t take_run(const extent_request& request, lock_type& lock) noexcept;
  [[nodiscard]] std::uint32_t take_run_at(const extent_place& run,
                                          const extent_request& request) noexcept;
  [[nodiscard]] stream_set debts_of(const extent_place& run,
                                    const extent_shape& shape) const noexcept;
  [[nodiscard]] result<std::uint32_t> take_new(const extent_request& request) noexcept;
  // device_memory_slabs.cpp
  [[nodiscard]] status grow(const extent_shape& shape, lock_type& lock) noexcept;
  [[nodiscard]] status add_slab(std::size_t bytes, lock_type& lock) noexcept;
  void wait_for_all(lock_type& lock) noexcept;
  void poll_all_streams(lock_type& lock) noexcept;
  void move_done_of_several() noexcept;
  std::size_t release_idle(std::size_t bytes, std::uint64_t last, lock_type& lock) noexcept;
  [[nodiscard]] status lengthen_slab(std::uint32_t extent_index, std::uint32_t missing,
                                     lock_type& lock) noexcept;

  // device_memory_spans.cpp
  [[nodiscard]] backend::refill_result refill_spans(const requester& requester, std::size_t bytes,
                                                    std::span<block> blocks,
                                                    lock_type& lock) noexcept;
  [[nodiscard]] result<std::uint32_t> add_span(const span_request& request,
                                               lock_type& lock) noexcept;

  [[nodiscard]] result<block> allocate_extent(const requester& requester, const extent_shape& shape,
                                              std::size_t block_bytes, lock_type& lock) noexcept;
  [[nodiscard]] std::size_t pending_pages() const noexcept;
  void forget_spent_streams(lock_type& lock) noexcept;
  [[nodiscard]] stream_index heap_to_free(const stream_ref& stream, lock_type& lock) noexcept;
  void take_back_one(const block& what, stream_index s) noexcept;
  [[nodiscard]] const char* check_locked() const noexcept;

  driver& driver_;
  const std::unique_ptr<slab_source> source_;
  const device_memory_options options_;
  /// The host uses the memory itself, so it serves again only when work on it is known to be
  /// complete.
  const bool host_order_;
  backend_host* host_ = nullptr;

  std::mutex growth_mutex_;  ///< taken before mutex_
  mutable std::mutex mutex_;
  stream_order order_;  // all below: guarded by mutex_
  extent_heap extents_;
  span_heap spans_;
  std::uint64_t tick_ = 1;
  std::size_t used_bytes_ = 0;     // in blocks handed out
  std::size_t claimed_bytes_ = 0;  // of the host
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
