// SPDX-License-Identifier: Apache-2.0
//
// device_memory: small blocks, from the spans of a stream: how far it goes for one more span.
#include "heap/device_memory.hpp"
#include <tidepool/support/block_requests.hpp>

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace cuda {

// Looks for blocks in the order of their cost: spans that owe nothing, spans whose debts turn out
// to be paid, new spans, and last spans for which the stream or the host has to wait.
backend::refill_result device_memory::refill_spans(const requester& requester, std::size_t bytes,
                                                   std::span<block> blocks,
                                                   lock_type& lock) noexcept {
  std::size_t done = 0;
  const effort cheap = !requester.is_asked  ? effort::own
                       : requester.may_grow ? effort::grow
                                            : effort::held;
  const auto add = [&](std::size_t most_blocks, effort limit) noexcept {
    return add_span({requester, bytes, most_blocks, limit}, lock);
  };
  while (requester.for_capture && done != blocks.size()) {
    // A graph gets new spans, because the memory of old ones is in the order of some stream.
    const result<std::uint32_t> fresh = add(blocks.size() - done, cheap);
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
    if (requester.is_asked && spans_.settle(requester.stream, bytes, settlement::known, lock)) {
      continue;
    }
    result<std::uint32_t> fresh = add(0, cheap);
    if (!fresh && !requester.is_asked) {
      return {done, fresh.error()};
    }
    if (!fresh && requester.may_grow && requester.may_wait) {
      if (spans_.settle(requester.stream, bytes, settlement::by_wait, lock)) {
        continue;
      }
      fresh = add(0, effort::wait);
      if (!fresh && spans_.adopt(requester.stream, bytes, lock)) {
        continue;
      }
    }
    if (!fresh && requester.may_grow) {
      fresh = add(0, effort::everything);
      // The search has made the host wait, so debts may be paid now.
      if (!fresh && spans_.settle(requester.stream, bytes, settlement::known, lock)) {
        continue;
      }
    }
    if (!fresh) {
      return {done, fresh.error()};
    }
    done += spans_.take_from(*fresh, blocks.subspan(done));
  }
}

// A span of the usual length, of fewer blocks if no more are wanted, and shorter where a limit
// leaves no more.
result<std::uint32_t> device_memory::add_span(const span_request& request,
                                              lock_type& lock) noexcept {
  const auto fewest = static_cast<std::uint32_t>(support::pages_of(request.block_bytes));
  std::uint32_t pages = span_pages(request.block_bytes);
  if (request.most_blocks != 0) {
    pages = std::min(pages, static_cast<std::uint32_t>(
                                support::pages_of(request.block_bytes * request.most_blocks)));
  }
  for (;;) {
    const result<std::uint32_t> made =
        obtain({request, {.pages = pages}, extent_state::span, request.limit}, lock);
    if (made) {
      if (const status why = spans_.reserve(); !why.ok()) {
        const stream_index heap = request.own_heap ? request.stream : no_stream;
        extents_.release(*made, heap, request.own_heap ? order_.next_stamp(heap) : 0);
        return why;
      }
      return spans_.add(request.stream, request.block_bytes, *made);
    }
    if (pages == fewest || request.limit == effort::own) {
      return made.error();
    }
    pages = std::max(pages / 2, fewest);
  }
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
