// SPDX-License-Identifier: Apache-2.0
//
// span_heap: its invariants, walked, and what it has.
#include "heap/span_heap.hpp"
#include <tidepool/size_class.hpp>

namespace tidepool {
inline namespace v0 {
namespace cuda {

std::size_t span_heap::longest_free() const noexcept {
  for (unsigned c = span_class_count; c-- != 0;) {
    for (const stream_bins& stream : bins_) {
      if (!stream.bins[c].partial.empty() || !stream.bins[c].owing.empty()) {
        return size_of_class(c + first_size_class);
      }
    }
  }
  return 0;
}

const char* span_heap::check() const noexcept {
  std::size_t members = 0;
  std::size_t counted = 0;
  for (const stream_bins& stream : bins_) {
    counted += stream.spans;
    for (const size_bin& bin : stream.bins) {
      if (!bin.partial.check(spans_) || !bin.owing.check(spans_)) {
        return "spans: a tree of spans is out of order";
      }
      members += bin.partial.size() + bin.owing.size();
      if (bin.kept != 0 && !spans_[bin.kept].blocks.is_empty()) {
        return "spans: the span kept empty is not";
      }
    }
  }
  std::size_t with_free = 0;
  std::size_t used = 0;
  for (std::uint32_t index = 1; index < spans_.bound(); ++index) {
    if (spans_[index].blocks.extent == 0) {
      continue;
    }
    if (const char* const broken = check_span(index); broken != nullptr) {
      return broken;
    }
    ++used;
    with_free += spans_[index].blocks.free != 0 ? 1U : 0U;
  }
  return with_free == members && used == spans_.used() && used == counted
             ? nullptr
             : "spans: a tree has a span that is full or unused";
}

const char* span_heap::check_span(std::uint32_t index) const noexcept {
  const span_record& span = spans_[index];
  const support::span_blocks& blocks = span.blocks;
  const extent& home = extents_[blocks.extent];
  if (home.state != extent_state::span || home.span != index || home.page != blocks.page) {
    return "spans: a span has lost its extent";
  }
  if (const char* const broken = blocks.check(home.pages); broken != nullptr) {
    return broken;
  }
  const size_bin& bin = bins_[span.owner].bins[span_class_of(blocks.block_bytes)];
  const auto& tree = span.owes.empty() ? bin.partial : bin.owing;
  if (blocks.free != 0 && tree.lower_bound(spans_, span.key()) != index) {
    return "spans: a span with free blocks is in no tree";
  }
  return blocks.is_empty() && bin.kept != index ? "spans: an empty span was not given back"
                                                : nullptr;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
