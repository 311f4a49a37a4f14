// SPDX-License-Identifier: Apache-2.0
//
// Copies and fills tensors, and moves managed memory. Core checks tensors and ranges; the backend
// of the stream-ordered side does the work.
#include "pool/ended_blocks.hpp"
#include "pool/pool_core.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

[[nodiscard]] status invalid(std::size_t bytes, device where, const char* text) noexcept {
  return {.code = errc::invalid_argument, .requested = bytes, .where = where, .text = text};
}

// Returns the record of a live tensor, or reports a misuse if it is not alive.
[[nodiscard]] result<tensor_info> read_live(pool_core& core, tensor_id id) noexcept {
  if (const std::optional<tensor_info> info = core.directory.read(id)) {
    return *info;
  }
  return core.report_misuse(misuse_kind::stale_use, id);
}

// Notes that work on the stream uses the tensor. Memory for the host can be reused the moment its
// tensor ends, so it must wait for that stream.
void note_use(pool_core& core, const tensor_info& used, const stream_ref& stream) noexcept {
  if (core.lanes.find(used.where)->is_for_host()) {
    note_use_or_wait(core, used.id, stream);
  }
}

}  // namespace

status pool_core::copy(const copy_request& request) noexcept {
  const operation guard(*this);
  const result<tensor_info> found_dst = read_live(*this, request.dst);
  if (!found_dst) {
    return found_dst.error();
  }
  const result<tensor_info> found_src = read_live(*this, request.src);
  if (!found_src) {
    return found_src.error();
  }
  const tensor_info& dst = *found_dst;
  const tensor_info& src = *found_src;
  if (request.src_offset > src.bytes || request.dst_offset > dst.bytes) {
    return invalid(request.bytes, src.where, "a copy begins beyond the end of its tensor");
  }
  const std::size_t bytes =
      request.bytes == SIZE_MAX ? src.bytes - request.src_offset : request.bytes;
  if (bytes > src.bytes - request.src_offset || bytes > dst.bytes - request.dst_offset) {
    return invalid(bytes, dst.where, "a copy reaches beyond the end of its tensor");
  }
  if (bytes == 0) {
    return {};
  }
  const device_entry& to = *lanes.find(dst.where);
  const device_entry& from = *lanes.find(src.where);
  // Host memory near another GPU is within reach of all of them, and a GPU's memory perhaps not, so
  // the backend of the latter works.
  const bool from_works =
      !to.description.stream_ordered ||
      (to.is_for_host() && from.description.stream_ordered && !from.is_for_host());
  const device_entry& works = from_works ? from : to;
  const status done = works.source->copy(
      works.where, static_cast<std::byte*>(dst.data) + request.dst_offset,
      static_cast<const std::byte*>(src.data) + request.src_offset, bytes, request.stream);
  if (done.ok()) {
    note_use(*this, dst, request.stream);
    note_use(*this, src, request.stream);
  }
  return done;
}

status pool_core::fill(tensor_id id, std::uint8_t value, const stream_ref& stream) noexcept {
  const operation guard(*this);
  const result<tensor_info> info = read_live(*this, id);
  if (!info) {
    return info.error();
  }
  if (info->bytes == 0) {
    return {};
  }
  const status done =
      lanes.find(info->where)->source->fill(info->where, info->data, value, info->bytes, stream);
  if (done.ok()) {
    note_use(*this, *info, stream);
  }
  return done;
}

status pool_core::prefetch(tensor_id id, device to, const stream_ref& stream) noexcept {
  const operation guard(*this);
  const result<tensor_info> info = read_live(*this, id);
  if (!info) {
    return info.error();
  }
  const std::span<const std::byte> range(static_cast<const std::byte*>(info->data), info->bytes);
  return range.empty() ? status{}
                       : lanes.find(info->where)->source->prefetch(info->where, range, to, stream);
}

status pool_core::advise(tensor_id id, const advice_request& request) noexcept {
  const operation guard(*this);
  const result<tensor_info> info = read_live(*this, id);
  if (!info) {
    return info.error();
  }
  const std::span<const std::byte> range(static_cast<const std::byte*>(info->data), info->bytes);
  return range.empty() ? status{}
                       : lanes.find(info->where)->source->advise(info->where, range, request);
}

status pool_core::synchronise(device where, const stream_ref& stream) noexcept {
  const operation guard(*this);
  const device_entry* const entry = lanes.find(where);
  return entry == nullptr ? status{.code = errc::unknown_device, .where = where}
                          : entry->source->synchronise(where, stream);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
