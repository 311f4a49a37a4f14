// SPDX-License-Identifier: Apache-2.0
//
// span_heap: blocks of spans handed out and taken back, spans made and given up, and its
// invariants, walked. Finding pages for a span is extent_heap's. Not thread-safe: the backend's
// mutex.
#include "span_heap.hpp"

#include <tidepool/assert.hpp>
#include <tidepool/size_class.hpp>

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace cpu {

backend::refill_result span_heap::refill(std::size_t bytes, bool may_grow,
                                         std::span<block> blocks) noexcept {
  size_bin& bin = bins_[span_class_of(bytes)];
  std::size_t done = 0;
  while (done != blocks.size()) {
    std::uint32_t index = bin.partial.first(spans_);
    if (index == 0) {
      const status why = add_span(bin, static_cast<std::uint32_t>(bytes), may_grow);
      if (!why.ok()) {
        return {done, why};
      }
      index = bin.partial.first(spans_);
    }
    done += spans_[index].blocks.take(index, blocks.subspan(done));
    if (spans_[index].blocks.free == 0) {
      bin.partial.erase(spans_, index);
    }
    if (bin.kept == index) {
      bin.kept = 0;
    }
  }
  return {done, {}};
}

// Carves a span of the usual length, or a shorter one where a limit leaves no more.
status span_heap::add_span(size_bin& bin, std::uint32_t bytes, bool may_grow) noexcept {
  if (const int error = spans_.reserve(1); error != 0) {
    return {.code = errc::out_of_memory, .native = error};
  }
  std::uint32_t pages = span_pages(bytes);
  const std::uint32_t fewest = static_cast<std::uint32_t>((bytes + page_bytes - 1) / page_bytes);
  for (;;) {
    const result<std::uint32_t> made =
        extents_.allocate({.pages = pages, .may_grow = may_grow, .state = extent_state::span});
    if (made) {
      const std::uint32_t index = spans_.acquire();
      span_record& span = spans_[index];
      extent& home = extents_[*made];
      home.span = index;
      span.blocks.carve({.extent = *made, .page = home.page, .pages = pages}, bytes);
      bin.partial.insert(spans_, index);
      return {};
    }
    if (pages == fewest) {
      return made.error();
    }
    pages = std::max(pages / 2, fewest);
  }
}

void span_heap::take_back(span_position position, std::uint64_t epoch) noexcept {
  span_record& span = spans_[position.span];
  span.blocks.put(position.block);
  if (span.blocks.free != 1 && !span.blocks.is_empty()) {
    return;
  }
  size_bin& bin = bins_[span_class_of(span.blocks.block_bytes)];
  if (span.blocks.free == 1) {
    bin.partial.insert(spans_, position.span);
  }
  if (span.blocks.is_empty()) {
    span.emptied = epoch;
    const std::uint32_t other = bin.kept;
    bin.kept = position.span;
    if (other != 0) {
      // Of two empty spans the one at the lower address is kept.
      const bool keep_other = spans_[other].blocks.page < span.blocks.page;
      bin.kept = keep_other ? other : position.span;
      release_span(bin, keep_other ? position.span : other);
    }
  }
}

void span_heap::release_span(size_bin& bin, std::uint32_t index) noexcept {
  const std::uint32_t home = spans_[index].blocks.extent;
  const std::uint64_t emptied = spans_[index].emptied;
  bin.partial.erase(spans_, index);
  spans_.release(index);
  extents_.release(home, emptied);
}

bool span_heap::owns(span_position position, const block& what) const noexcept {
  return position.span != 0 && position.span < spans_.bound() &&
         spans_[position.span].blocks.owns(position.block, what);
}

void span_heap::release_empty(std::uint64_t last) noexcept {
  for (size_bin& bin : bins_) {
    if (bin.kept != 0 && spans_[bin.kept].emptied <= last) {
      release_span(bin, bin.kept);
      bin.kept = 0;
    }
  }
}

std::size_t span_heap::longest_free() const noexcept {
  for (unsigned i = span_class_count; i-- != 0;) {
    if (!bins_[i].partial.empty()) {
      return size_of_class(i + first_size_class);
    }
  }
  return 0;
}

const char* span_heap::check() const noexcept {
  std::size_t members = 0;
  for (const size_bin& bin : bins_) {
    if (!bin.partial.check(spans_)) {
      return "spans: a tree of spans is out of order";
    }
    members += bin.partial.size();
    if (bin.kept != 0 && !spans_[bin.kept].blocks.is_empty()) {
      return "spans: the span kept empty is not";
    }
  }
  std::size_t partial = 0;
  std::size_t used = 0;
  for (std::uint32_t index = 1; index < spans_.bound(); ++index) {
    const support::span_blocks& blocks = spans_[index].blocks;
    if (blocks.extent == 0) {
      continue;
    }
    ++used;
    const extent& home = extents_[blocks.extent];
    if (home.state != extent_state::span || home.span != index || home.page != blocks.page) {
      return "spans: a span has lost its extent";
    }
    if (const char* const broken = blocks.check(home.pages); broken != nullptr) {
      return broken;
    }
    const size_bin& bin = bins_[span_class_of(blocks.block_bytes)];
    if (blocks.free != 0 && bin.partial.lower_bound(spans_, spans_[index].key()) != index) {
      return "spans: a span with free blocks is in no tree";
    }
    if (blocks.is_empty() && bin.kept != index) {
      return "spans: an empty span was not given back";
    }
    partial += blocks.free != 0 ? 1U : 0U;
  }
  if (partial != members || used != spans_.used()) {
    return "spans: a tree has a span that is full or unused";
  }
  return nullptr;
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
