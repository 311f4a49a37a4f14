// SPDX-License-Identifier: Apache-2.0
//
// device_memory: small blocks, from the spans of a stream: how far it goes for one more span.
#include "heap/device_memory.hpp"
#include <tidepool/support/block_requests.hpp>

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace cuda {

// What costs nothing first, then what is known to be paid, then new spans, and waiting last.
backend::refill_result device_memory::refill_spans(const requester& requester, std::size_t bytes,
                                                   std::span<block> blocks,
                                                   lock_type& lock) noexcept {
  std::size_t done = 0;
  const effort cheap = requester.may_grow ? effort::grow : effort::held;
  while (requester.for_capture && done != blocks.size()) {
    // Spans of their own: none of their memory was in any stream's order.
    const result<std::uint32_t> fresh =
        add_span(requester, bytes, blocks.size() - done, cheap, lock);
    if (!fresh) {
      return {done, fresh.error()};
    }
    done += spans_.take_from(*fresh, blocks.subspan(done));
  }
  for (;;) {
    done += spans_.take(requester.stream, bytes, blocks.subspan(done));
    if (done == blocks.size()) {
      return {done, {}};
    }
    if (spans_.settle(requester.stream, bytes, settlement::known)) {
      continue;
    }
    result<std::uint32_t> fresh = add_span(requester, bytes, 0, cheap, lock);
    if (!fresh && requester.may_grow && requester.may_wait) {
      if (spans_.settle(requester.stream, bytes, settlement::by_wait)) {
        continue;
      }
      fresh = add_span(requester, bytes, 0, effort::wait, lock);
      if (!fresh && spans_.adopt(requester.stream, bytes)) {
        continue;
      }
    }
    if (!fresh && requester.may_grow) {
      fresh = add_span(requester, bytes, 0, effort::everything, lock);
      // The host has waited.
      if (!fresh && spans_.settle(requester.stream, bytes, settlement::known)) {
        continue;
      }
    }
    if (!fresh) {
      return {done, fresh.error()};
    }
    done += spans_.take_from(*fresh, blocks.subspan(done));
  }
}

// A span of the usual length, or a shorter one where a limit leaves no more; for `blocks` blocks
// exactly if that is not 0.
result<std::uint32_t> device_memory::add_span(const requester& requester, std::size_t bytes,
                                              std::size_t blocks, effort most,
                                              lock_type& lock) noexcept {
  const auto fewest = static_cast<std::uint32_t>(support::pages_of(bytes));
  std::uint32_t pages = span_pages(bytes);
  if (blocks != 0) {
    pages = std::min(pages, static_cast<std::uint32_t>(support::pages_of(bytes * blocks)));
  }
  for (;;) {
    const result<std::uint32_t> made =
        obtain(requester, {.pages = pages}, extent_state::span, most, lock);
    if (made) {
      if (const status why = spans_.reserve(); !why.ok()) {
        const stream_index heap = requester.own_heap ? requester.stream : no_stream;
        extents_.release(*made, heap, requester.own_heap ? order_.next_stamp(heap) : 0);
        return why;
      }
      return spans_.add(requester.stream, bytes, *made);
    }
    if (pages == fewest) {
      return made.error();
    }
    pages = std::max(pages / 2, fewest);
  }
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
