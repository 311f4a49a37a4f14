// SPDX-License-Identifier: Apache-2.0
//
// span_heap: blocks of spans handed out and taken back, debts and spans that change hands. The
// checks are in span_check.cpp.
#include "heap/span_heap.hpp"

#include <tidepool/assert.hpp>

#include <exception>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

// So many owing spans are looked at by one request, to bound its time.
constexpr unsigned most_looked_at = 8;

}  // namespace

status span_heap::make_bins(stream_index count) noexcept {
  try {
    if (bins_.size() < count) {
      bins_.resize(count);
    }
    return {};
  } catch (const std::exception&) {
    return {.code = errc::out_of_memory};
  }
}

status span_heap::reserve() noexcept {
  const int error = spans_.reserve(1);
  return error == 0
             ? status{}
             : status{.code = errc::out_of_memory, .native = error, .text = "no host memory"};
}

span_heap::size_bin& span_heap::bin_of(const span_record& span) noexcept {
  return bins_[span.owner].bins[span_class_of(span.blocks.block_bytes)];
}

void span_heap::put_in(std::uint32_t index) noexcept {
  size_bin& bin = bin_of(spans_[index]);
  (spans_[index].owes.empty() ? bin.partial : bin.owing).insert(spans_, index);
}

// Pre: the span has a free block, and its count of free blocks and debts are as they were at
// put_in.
void span_heap::take_out(std::uint32_t index) noexcept {
  size_bin& bin = bin_of(spans_[index]);
  (spans_[index].owes.empty() ? bin.partial : bin.owing).erase(spans_, index);
  if (bin.kept == index) {
    bin.kept = 0;
  }
}

std::size_t span_heap::take(stream_index s, std::size_t bytes, std::span<block> blocks) noexcept {
  const size_bin& bin = bins_[s].bins[span_class_of(bytes)];
  std::size_t done = 0;
  while (done != blocks.size() && !bin.partial.empty()) {
    done += take_from(bin.partial.first(spans_), blocks.subspan(done));
  }
  return done;
}

std::size_t span_heap::take_from(std::uint32_t index, std::span<block> blocks) noexcept {
  take_out(index);
  support::span_blocks& span = spans_[index].blocks;
  const std::size_t done = span.take(index, blocks);
  if (span.free != 0) {
    put_in(index);
  }
  return done;
}

bool span_heap::is_settled(stream_index s, const stream_set& owes) const noexcept {
  return host_order_ ? order_.is_done(owes) : order_.has_waited(s, owes);
}

// Is this still a span of the stream and class, and has it a free block?
bool span_heap::has_free_block(std::uint32_t index, stream_index s,
                               unsigned size_class) const noexcept {
  const span_record& span = spans_[index];
  return span.owner == s && span.blocks.free != 0 &&
         span_class_of(span.blocks.block_bytes) == size_class;
}

// The same, and does it owe something?
bool span_heap::is_owing(std::uint32_t index, stream_index s, unsigned size_class) const noexcept {
  const span_record& span = spans_[index];
  return has_free_block(index, s, size_class) && !span.owes.empty();
}

// A debt is paid too if the driver has just answered so about all of it. The stream's memo of waits
// may be too short to know that.
bool span_heap::settle(stream_index s, std::size_t bytes, settlement how,
                       stream_order::lock_type& lock) noexcept {
  const unsigned c = span_class_of(bytes);
  std::uint32_t index = bins_[s].bins[c].owing.first(spans_);
  for (unsigned seen = 0; index != 0 && seen != most_looked_at; ++seen) {
    bool is_paid = is_settled(s, spans_[index].owes);
    if (!is_paid) {
      const stream_set owes = spans_[index].owes;
      const bool is_answered =
          how == settlement::known ? order_.catch_up(owes, lock) : order_.wait(s, owes, lock);
      if (!is_owing(index, s, c)) {
        return false;
      }
      is_paid = (is_answered && spans_[index].owes == owes) || is_settled(s, spans_[index].owes);
    }
    if (is_paid) {
      const bool was_kept = bin_of(spans_[index]).kept == index;
      take_out(index);
      spans_[index].owes = {};
      put_in(index);
      if (was_kept) {
        bin_of(spans_[index]).kept = index;
      }
      return true;
    }
    index = bins_[s].bins[c].owing.next(spans_, index);
  }
  return false;
}

// What another stream has to wait for before it uses the span's free blocks.
stream_set span_heap::debts_of(std::uint32_t index) const noexcept {
  stream_set debts = spans_[index].owes;
  debts.add(spans_[index].owner, order_.latest_free(spans_[index].owner));
  return debts;
}

bool span_heap::adopt(stream_index s, std::size_t bytes, stream_order::lock_type& lock) noexcept {
  TIDEPOOL_ASSERT(1, !host_order_);
  const unsigned c = span_class_of(bytes);
  for (stream_index other = legacy_stream; other != bins_.size(); ++other) {
    const size_bin& bin = bins_[other].bins[c];
    if (other == s || (bin.partial.empty() && bin.owing.empty())) {
      continue;
    }
    const std::uint32_t index =
        !bin.partial.empty() ? bin.partial.first(spans_) : bin.owing.first(spans_);
    const stream_set before = debts_of(index);
    if (!order_.wait(s, before, lock) || !has_free_block(index, other, c) ||
        (debts_of(index) != before && !order_.has_waited(s, debts_of(index)))) {
      continue;
    }
    take_out(index);
    --bins_[other].spans;
    ++bins_[s].spans;
    spans_[index].owner = s;
    spans_[index].owes = {};
    put_in(index);
    return true;
  }
  return false;
}

std::uint32_t span_heap::add(stream_index s, std::size_t bytes,
                             std::uint32_t extent_index) noexcept {
  const std::uint32_t index = spans_.acquire();
  span_record& span = spans_[index];
  extent& home = extents_[extent_index];
  home.span = index;
  span.owner = s;
  span.blocks.carve({.extent = extent_index, .page = home.page, .pages = home.pages}, bytes);
  ++bins_[s].spans;
  put_in(index);
  return index;
}

void span_heap::take_back(span_position position, stream_index s) noexcept {
  stream_set owes;
  if (s != no_stream && (host_order_ || s != spans_[position.span].owner)) {
    owes.add(s, order_.latest_free(s));
  }
  give_back(position, owes);
}

void span_heap::take_back(span_position position, const stream_set& after_all_of) noexcept {
  give_back(position, after_all_of);
}

void span_heap::give_back(span_position position, const stream_set& owes) noexcept {
  span_record& span = spans_[position.span];
  if (span.blocks.free != 0) {
    take_out(position.span);
  }
  span.blocks.put(position.block);
  span.owes.add(owes);
  put_in(position.span);
  if (!span.blocks.is_empty()) {
    return;
  }
  // One empty span per class is kept for the next refill: the one at the lower address.
  size_bin& bin = bin_of(span);
  const std::uint32_t other = bin.kept;
  const bool keep_other = other != 0 && spans_[other].blocks.page < span.blocks.page;
  if (!keep_other) {
    bin.kept = position.span;
  }
  if (other != 0) {
    release(keep_other ? position.span : other);
  }
}

// Pre: empty.
void span_heap::release(std::uint32_t index) noexcept {
  take_out(index);
  const span_record& span = spans_[index];
  const stream_index owner = span.owner;
  if (span.owes.empty()) {
    const stream_index heap = host_order_ ? no_stream : owner;
    extents_.release(span.blocks.extent, heap, order_.latest_free(heap));
  } else {
    stream_set all = span.owes;
    if (!host_order_) {
      all.add(owner, order_.latest_free(owner));
    }
    extents_.release(span.blocks.extent, all);
  }
  --bins_[owner].spans;
  spans_.release(index);
}

bool span_heap::release_empty() noexcept {
  bool any = false;
  for (stream_index s = legacy_stream; s != bins_.size(); ++s) {
    any = release_empty(s) || any;
  }
  return any;
}

bool span_heap::release_empty(stream_index s) noexcept {
  bool any = false;
  if (bins_[s].spans != 0) {
    for (size_bin& bin : bins_[s].bins) {
      if (bin.kept != 0) {
        release(bin.kept);
        any = true;
      }
    }
  }
  return any;
}

bool span_heap::owns(span_position position, const block& what) const noexcept {
  return position.span != 0 && position.span < spans_.bound() &&
         spans_[position.span].blocks.owns(position.block, what);
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
