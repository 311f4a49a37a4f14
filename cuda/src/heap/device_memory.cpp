// SPDX-License-Identifier: Apache-2.0
//
// device_memory: requests checked and rounded, sent to spans or extents, blocks taken back, sums.
// Memory is found in device_memory_obtain.cpp, spans are filled in device_memory_spans.cpp, slabs
// are in device_memory_slabs.cpp, streams in device_memory_streams.cpp.
#include "heap/device_memory.hpp"

#include <tidepool/assert.hpp>
#include <tidepool/support/block_requests.hpp>
#include <tidepool/support/cookie.hpp>

#include <algorithm>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

[[nodiscard]] extent_shape shape_of(std::size_t pages, std::size_t alignment) noexcept {
  return {.pages = static_cast<std::uint32_t>(pages),
          .alignment = static_cast<std::uint32_t>(std::max(alignment, page_bytes) / page_bytes)};
}

}  // namespace

device_memory::device_memory(driver& gpu, std::unique_ptr<slab_source> source,
                             const device_memory_options& options) noexcept
    : driver_(gpu),
      source_(std::move(source)),
      options_(options),
      host_order_(source_->description().host_accessible),
      order_(gpu),
      spans_(extents_, order_, host_order_) {}

device_memory::~device_memory() {
  // No capture of the process survives a wait for the whole device. Only blocks that were not taken
  // back need one, as it is not known which streams use them.
  status why;
  if (used_bytes_ != 0) {
    why = driver_.synchronise_device();
  } else if (extents_.pages() != 0) {
    lock_type lock(mutex_);
    wait_for_all(lock);
  }
  // What work may still use, and what the driver refuses now, goes with the process.
  if (why.ok() || driver_.is_lost()) {
    extents_.for_each_slab([this](const slab& what) { static_cast<void>(source_->release(what)); });
  }
  if (host_ != nullptr && claimed_bytes_ != 0) {
    host_->unclaim(description().where, claimed_bytes_);
  }
}

status device_memory::prepare() noexcept {
  const std::lock_guard lock(mutex_);
  const status why = order_.prepare();
  return why.ok() ? make_room_for_streams(order_.size()) : why;
}

status device_memory::complete(const status& why, std::size_t bytes) const noexcept {
  return support::complete(why, bytes, description().where);
}

result<requester> device_memory::begin(const block_request& request, lock_type& lock) noexcept {
  const result<stream_index> s = find(request.stream, lock);
  if (!s) {
    return s.error();
  }
  if (order_.is_recycled(*s)) {
    return status{.code = errc::not_found,
                  .text = "the stream was destroyed without retire, and its handle is another's"};
  }
  order_.note_user(*s);
  return requester{.stream = *s,
                   .may_wait = !request.for_capture && !host_order_,
                   .own_heap = !request.for_capture && !host_order_,
                   .may_grow = request.may_grow,
                   .for_capture = request.for_capture,
                   .is_asked = request.for_capture};
}

// Returns the requester with what its stream may be told.
result<requester> device_memory::ask_capture(requester asks, lock_type& lock) noexcept {
  const result<capture_state> now = order_.state_of(asks.stream, lock);
  if (!now) {
    return now.error();
  }
  if (*now == capture_state::captures) {
    return status{.code = errc::stream_captures,
                  .text = "memory for a captured stream comes from a capture_scope"};
  }
  asks.may_wait = asks.may_wait && *now == capture_state::none;
  asks.is_asked = true;
  return asks;
}

result<block> device_memory::allocate_extent(const requester& requester, const extent_shape& shape,
                                             std::size_t block_bytes, lock_type& lock) noexcept {
  const effort limit = !requester.is_asked  ? effort::own
                       : requester.may_grow ? effort::everything
                                            : effort::held;
  const result<std::uint32_t> made = obtain({requester, shape, extent_state::block, limit}, lock);
  if (!made) {
    return made.error();
  }
  extent& e = extents_[*made];
  e.block_bytes = block_bytes;
  used_bytes_ += block_bytes;
  return block{.data = e.address(),
               .bytes = block_bytes,
               .cookie = support::cookie{support::cookie_kind::extent, *made, 0}.bits()};
}

// What is free in the stream's own order needs no driver call; only for more is the stream asked
// whether it captures.
template <class F>
backend::refill_result device_memory::serve(const block_request& request, std::size_t wanted,
                                            F&& take) noexcept {
  lock_type lock(mutex_);
  result<requester> asks = begin(request, lock);
  backend::refill_result made;
  if (asks) {
    made = take(*asks, std::size_t{0}, lock);
  }
  if (asks && made.count != wanted && !asks->is_asked) {
    asks = ask_capture(*asks, lock);
    if (asks) {
      const backend::refill_result rest = take(*asks, made.count, lock);
      made = {made.count + rest.count, rest.why};
      order_.record_early(asks->stream, lock);
    }
  }
  if (!asks) {
    made.why = asks.error();
  }
  if (!made.why.ok()) {
    made.why = complete(made.why, request.bytes);
  }
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
  return made;
}

backend::refill_result device_memory::refill(const block_request& request,
                                             std::span<block> blocks) noexcept {
  if (const status why = support::check_refill(request, description().where); !why.ok()) {
    return {0, why};
  }
  const std::size_t bytes = request.bytes;
  const std::size_t alignment = std::max(request.alignment, description().alignment);
  if (bytes <= largest_span_block && alignment <= page_bytes && bytes % alignment == 0) {
    return serve(request, blocks.size(),
                 [&](const requester& asks, std::size_t done, lock_type& lock) noexcept {
                   const auto made = refill_spans(asks, bytes, blocks.subspan(done), lock);
                   used_bytes_ += made.count * bytes;
                   return made;
                 });
  }
  const extent_shape shape = shape_of(support::pages_of(bytes), alignment);
  return serve(request, blocks.size(),
               [&](const requester& asks, std::size_t done, lock_type& lock) noexcept {
                 backend::refill_result made;
                 for (; done + made.count != blocks.size(); ++made.count) {
                   const result<block> next = allocate_extent(asks, shape, bytes, lock);
                   if (!next) {
                     made.why = next.error();
                     break;
                   }
                   blocks[done + made.count] = *next;
                 }
                 return made;
               });
}

result<block> device_memory::allocate_large(const block_request& request) noexcept {
  if (const status why = support::check_request(request, description().where); !why.ok()) {
    return why;
  }
  const std::size_t exact = support::pages_of(request.bytes);
  const std::size_t pages = request.long_lived ? exact : support::pages_with_room(request.bytes);
  block made;
  const backend::refill_result answer =
      serve(request, 1, [&](const requester& asks, std::size_t, lock_type& lock) noexcept {
        result<block> found =
            allocate_extent(asks, shape_of(pages, request.alignment), pages * page_bytes, lock);
        if (!found && pages != exact && asks.is_asked) {
          found =
              allocate_extent(asks, shape_of(exact, request.alignment), exact * page_bytes, lock);
        }
        if (!found) {
          return backend::refill_result{0, found.error()};
        }
        made = *found;
        return backend::refill_result{1, {}};
      });
  return answer.count == 1 ? result<block>(made) : answer.why;
}

// The heap for memory that this stream frees. Host memory that is freed without a stream is used by
// no stream, so it goes to the heap for everybody.
stream_index device_memory::heap_to_free(const stream_ref& stream, lock_type& lock) noexcept {
  if (host_order_ && stream.is_none()) {
    return no_stream;
  }
  if (stream == untold_stream()) {
    return unknown_stream;
  }
  // Without memory for a new stream's heap the free counts as that of an unknown stream.
  const result<stream_index> s = find(stream, lock);
  return s ? *s : unknown_stream;
}

// Pre: the stream's latest stamp is that of this free, or s is no_stream.
void device_memory::take_back_one(const block& what, stream_index s) noexcept {
  const support::cookie tag = support::cookie::from_bits(what.cookie);
  if (tag.kind == support::cookie_kind::span) {
    TIDEPOOL_ASSERT(1, spans_.owns({tag.index, tag.block}, what));
    used_bytes_ -= what.bytes;
    spans_.take_back({tag.index, tag.block}, s);
    return;
  }
  TIDEPOOL_ASSERT(1, tag.kind == support::cookie_kind::extent && extents_.is_block(tag.index));
  TIDEPOOL_ASSERT(1, extents_[tag.index].address() == what.data);
  used_bytes_ -= extents_[tag.index].block_bytes;
  extents_.release(tag.index, s, order_.latest_free(s));
}

void device_memory::take_back(std::span<const block> blocks, const stream_ref& stream) noexcept {
  lock_type lock(mutex_);
  const stream_index s = heap_to_free(stream, lock);
  if (s != no_stream) {
    static_cast<void>(order_.next_stamp(s));
  }
  std::size_t bytes = 0;
  for (const block& what : blocks) {
    take_back_one(what, s);
    bytes += what.bytes;
  }
  if (s != no_stream) {
    order_.note_freed(s, blocks.size(), bytes);
    order_.record_early(s, lock);
  }
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
}

void device_memory::take_back_after(const block& what,
                                    std::span<const stream_ref> streams) noexcept {
  lock_type lock(mutex_);
  stream_set all;
  for (const stream_ref& stream : streams) {
    const stream_index s = heap_to_free(stream, lock);
    if (s == no_stream) {
      continue;
    }
    if (!all.has(s)) {
      all.add(s, order_.next_stamp(s));
      order_.note_freed(s, 1, what.bytes);
      order_.record_early(s, lock);
    } else {
      all.stamp = std::max(all.stamp, order_.next_stamp(s));
    }
  }
  if (!all.is_all && all.count <= 1) {
    take_back_one(what, all.count == 0 ? no_stream : all.streams[0]);
    return;
  }
  const support::cookie tag = support::cookie::from_bits(what.cookie);
  if (tag.kind == support::cookie_kind::span) {
    TIDEPOOL_ASSERT(1, spans_.owns({tag.index, tag.block}, what));
    used_bytes_ -= what.bytes;
    spans_.take_back({tag.index, tag.block}, all);
  } else {
    TIDEPOOL_ASSERT(1, tag.kind == support::cookie_kind::extent && extents_.is_block(tag.index));
    used_bytes_ -= extents_[tag.index].block_bytes;
    extents_.release(tag.index, all);
  }
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
}

std::size_t device_memory::pending_pages() const noexcept {
  std::size_t pages = 0;
  for (stream_index heap = legacy_stream; heap != order_.size(); ++heap) {
    pages += extents_.pages_of(heap);
  }
  return pages;
}

memory_info device_memory::memory() const noexcept {
  const std::lock_guard lock(mutex_);
  const std::size_t reserved = extents_.pages() * page_bytes;
  return {.reserved_bytes = reserved,
          .free_bytes = reserved - used_bytes_,
          .largest_free_bytes =
              std::max(extents_.longest_free() * page_bytes, spans_.longest_free()),
          .pending_bytes = pending_pages() * page_bytes,
          .address_space_bytes = extents_.address_space_bytes(),
          .system_calls = driver_.calls()};
}

const char* device_memory::verify() const noexcept {
  const std::lock_guard lock(mutex_);
  return check_locked();
}

const char* device_memory::check_locked() const noexcept {
  for (const char* const broken : {order_.check(), extents_.check(), spans_.check()}) {
    if (broken != nullptr) {
      return broken;
    }
  }
  return used_bytes_ <= extents_.pages() * page_bytes ? nullptr
                                                      : "device: blocks hold more than is reserved";
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
