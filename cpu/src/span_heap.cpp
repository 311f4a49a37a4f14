// SPDX-License-Identifier: Apache-2.0
//
// span_heap: blocks of spans handed out and taken back, spans made and given up, and its
// invariants, walked. Finding pages for a span is extent_heap's. Not thread-safe: the backend's
// mutex.
#include "span_heap.hpp"

#include <tidepool/assert.hpp>
#include <tidepool/support/cookie.hpp>

#include <algorithm>
#include <bit>

namespace tidepool {
inline namespace v0 {
namespace cpu {

std::uint32_t span_pages(std::size_t block_bytes) noexcept {
  const std::size_t wanted =
      std::clamp(32 * block_bytes, std::size_t{64} << 10, std::size_t{512} << 10);
  std::size_t pages = (wanted + page_bytes - 1) / page_bytes;
  while (pages * page_bytes % block_bytes > pages * page_bytes / 32) {
    ++pages;
  }
  return static_cast<std::uint32_t>(pages);
}

backend::refill_result span_heap::refill(std::size_t bytes, bool may_grow,
                                         std::span<block> blocks) noexcept {
  size_bin& bin = bins_[bin_of(bytes)];
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
    done += take_blocks(index, blocks.subspan(done));
    if (spans_[index].free == 0) {
      bin.partial.erase(spans_, index);
    }
    if (bin.kept == index) {
      bin.kept = 0;
    }
  }
  return {done, {}};
}

// A span of the usual length, or a shorter one where a limit leaves no more.
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
      span.extent = *made;
      span.page = home.page;
      span.block_bytes = bytes;
      span.count = static_cast<std::uint32_t>(
          std::min<std::size_t>(pages * page_bytes / bytes, span_record::most_blocks));
      span.free = span.count;
      for (std::uint32_t i = 0; i < span.count; i += 64) {
        const std::uint32_t n = std::min(span.count - i, 64U);
        span.words[i / 64] = ~std::uint64_t{0} >> (64 - n);
      }
      bin.partial.insert(spans_, index);
      return {};
    }
    if (pages == fewest) {
      return made.error();
    }
    pages = std::max(pages / 2, fewest);
  }
}

std::size_t span_heap::take_blocks(std::uint32_t index, std::span<block> blocks) noexcept {
  span_record& span = spans_[index];
  char* const base = reinterpret_cast<char*>(span.page * page_bytes);
  std::size_t done = 0;
  for (std::uint32_t w = 0; w * 64 < span.count && done != blocks.size(); ++w) {
    std::uint64_t word = span.words[w];
    for (; word != 0 && done != blocks.size(); word &= word - 1) {
      const std::uint32_t i = w * 64 + static_cast<std::uint32_t>(std::countr_zero(word));
      blocks[done++] = {.data = base + std::size_t{i} * span.block_bytes,
                        .bytes = span.block_bytes,
                        .cookie = support::cookie{support::cookie_kind::span, index, i}.bits()};
    }
    span.words[w] = word;
  }
  span.free -= static_cast<std::uint32_t>(done);
  return done;
}

void span_heap::take_back(span_position position, std::uint64_t epoch) noexcept {
  span_record& span = spans_[position.span];
  span.words[position.block / 64] |= std::uint64_t{1} << (position.block % 64);
  ++span.free;
  if (span.free != 1 && span.free != span.count) {
    return;
  }
  size_bin& bin = bins_[bin_of(span.block_bytes)];
  if (span.free == 1) {
    bin.partial.insert(spans_, position.span);
  }
  if (span.free == span.count) {
    span.emptied = epoch;
    const std::uint32_t other = bin.kept;
    bin.kept = position.span;
    if (other != 0) {
      // The lower one is kept.
      const bool keep_other = spans_[other].page < span.page;
      bin.kept = keep_other ? other : position.span;
      release_span(bin, keep_other ? position.span : other);
    }
  }
}

void span_heap::release_span(size_bin& bin, std::uint32_t index) noexcept {
  const std::uint32_t home = spans_[index].extent;
  const std::uint64_t emptied = spans_[index].emptied;
  bin.partial.erase(spans_, index);
  spans_.release(index);
  extents_.release(home, emptied);
}

bool span_heap::owns(span_position position, const block& what) const noexcept {
  if (position.span == 0 || position.span >= spans_.bound()) {
    return false;
  }
  const span_record& span = spans_[position.span];
  const std::uint64_t address =
      span.page * page_bytes + std::uint64_t{position.block} * span.block_bytes;
  return span.extent != 0 && position.block < span.count && what.bytes == span.block_bytes &&
         reinterpret_cast<std::uintptr_t>(what.data) == address &&
         (span.words[position.block / 64] >> (position.block % 64) & 1U) == 0;
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
    if (bin.kept != 0 && spans_[bin.kept].free != spans_[bin.kept].count) {
      return "spans: the span kept empty is not";
    }
  }
  std::size_t partial = 0;
  std::size_t used = 0;
  for (std::uint32_t index = 1; index < spans_.bound(); ++index) {
    const span_record& span = spans_[index];
    if (span.extent == 0) {
      continue;
    }
    ++used;
    const extent& home = extents_[span.extent];
    if (home.state != extent_state::span || home.span != index || home.page != span.page) {
      return "spans: a span has lost its extent";
    }
    if (span.count == 0 || std::size_t{span.count} * span.block_bytes > home.pages * page_bytes) {
      return "spans: the blocks of a span are longer than its extent";
    }
    std::uint32_t free = 0;
    for (std::uint32_t i = 0; i != span_record::most_blocks; ++i) {
      const bool is_free = (span.words[i / 64] >> (i % 64) & 1U) != 0;
      if (is_free && i >= span.count) {
        return "spans: a block beyond the span is free";
      }
      free += is_free ? 1U : 0U;
    }
    if (free != span.free) {
      return "spans: the free blocks of a span are not what was counted";
    }
    const size_bin& bin = bins_[bin_of(span.block_bytes)];
    if (free != 0 && bin.partial.lower_bound(spans_, span.key()) != index) {
      return "spans: a span with free blocks is in no tree";
    }
    if (free == span.count && bin.kept != index) {
      return "spans: an empty span was not given back";
    }
    partial += free != 0 ? 1U : 0U;
  }
  if (partial != members || used != spans_.used()) {
    return "spans: a tree has a span that is full or unused";
  }
  return nullptr;
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
