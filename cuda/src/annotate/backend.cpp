// SPDX-License-Identifier: Apache-2.0
//
// annotated_backend: what the tool is told, and when. Of a block that comes back it is told before
// the block can be handed out again.
#include "annotate/backend.hpp"

namespace tidepool {
inline namespace v0 {
namespace cuda {

backend::refill_result annotated_backend::refill(const block_request& request,
                                                 std::span<block> blocks) noexcept {
  const annotated_range range(annotations_->tool.get(), request.for_capture ? "capture" : "refill");
  const refill_result made = wrapped_->refill(request, blocks);
  annotations_->slabs.add_blocks(blocks.first(made.count));
  return made;
}

result<block> annotated_backend::allocate_large(const block_request& request) noexcept {
  const annotated_range range(annotations_->tool.get(), request.for_capture ? "capture" : "refill");
  result<block> made = wrapped_->allocate_large(request);
  if (made) {
    annotations_->slabs.add_blocks({&*made, 1});
  }
  return made;
}

void annotated_backend::take_back(device where, std::span<const block> blocks,
                                  stream_ref stream) noexcept {
  annotations_->slabs.remove_blocks(blocks);
  wrapped_->take_back(where, blocks, stream);
}

void annotated_backend::take_back_after(device where, const block& what,
                                        std::span<const stream_ref> streams) noexcept {
  annotations_->slabs.remove_blocks({&what, 1});
  wrapped_->take_back_after(where, what, streams);
}

std::size_t annotated_backend::trim(device where, std::size_t keep_bytes) noexcept {
  const annotated_range range(annotations_->tool.get(), "trim");
  return wrapped_->trim(where, keep_bytes);
}

std::size_t annotated_backend::decay(device where) noexcept {
  const annotated_range range(annotations_->tool.get(), "decay");
  return wrapped_->decay(where);
}

result<std::size_t> annotated_backend::extend(device where, const block& what,
                                              std::size_t bytes) noexcept {
  const annotated_range range(annotations_->tool.get(), "extend");
  result<std::size_t> length = wrapped_->extend(where, what, bytes);
  if (length) {
    annotations_->tool->resize_block({.data = what.data, .bytes = *length, .cookie = what.cookie});
  }
  return length;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
