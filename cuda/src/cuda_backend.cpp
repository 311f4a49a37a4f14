// SPDX-License-Identifier: Apache-2.0
//
// cuda_backend: requests to their device_memory, and what concerns the GPU as a whole.
#include "cuda_backend.hpp"

#include <tidepool/assert.hpp>
#include <tidepool/support/block_requests.hpp>

#include <algorithm>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

[[nodiscard]] status unknown_device(device where, std::size_t bytes) noexcept {
  return {.code = errc::unknown_device, .requested = bytes, .where = where};
}

}  // namespace

cuda_backend::cuda_backend(std::unique_ptr<driver> gpu,
                           std::vector<std::unique_ptr<device_memory>> memories,
                           std::vector<device_description> descriptions) noexcept
    : driver_(std::move(gpu)),
      memories_(std::move(memories)),
      descriptions_(std::move(descriptions)) {}

cuda_backend::~cuda_backend() = default;

device_memory* cuda_backend::find(device where) const noexcept {
  for (const std::unique_ptr<device_memory>& memory : memories_) {
    if (memory->description().where == where) {
      return memory.get();
    }
  }
  return nullptr;
}

void cuda_backend::attach(backend_host& host) noexcept {
  for (const std::unique_ptr<device_memory>& memory : memories_) {
    memory->attach(host);
  }
}

backend::refill_result cuda_backend::refill(const block_request& request,
                                            std::span<block> blocks) noexcept {
  device_memory* const memory = find(request.where);
  return memory == nullptr ? refill_result{0, unknown_device(request.where, request.bytes)}
                           : memory->refill(request, blocks);
}

result<block> cuda_backend::allocate_large(const block_request& request) noexcept {
  device_memory* const memory = find(request.where);
  return memory == nullptr ? unknown_device(request.where, request.bytes)
                           : memory->allocate_large(request);
}

void cuda_backend::take_back(device where, std::span<const block> blocks,
                             stream_ref stream) noexcept {
  device_memory* const memory = find(where);
  TIDEPOOL_ASSERT(1, memory != nullptr);
  memory->take_back(blocks, stream);
}

void cuda_backend::take_back_after(device where, const block& what,
                                   std::span<const stream_ref> streams) noexcept {
  device_memory* const memory = find(where);
  TIDEPOOL_ASSERT(1, memory != nullptr && !streams.empty());
  memory->take_back_after(what, streams);
}

result<std::uint64_t> cuda_backend::stream_id(device where, const stream_ref& stream) noexcept {
  device_memory* const memory = find(where);
  if (memory == nullptr) {
    return unknown_device(where, 0);
  }
  const result<std::uint64_t> id = memory->stream_id(stream);
  return id ? id : support::complete(id.error(), 0, where);
}

void cuda_backend::retire(device where, const stream_ref& stream) noexcept {
  if (device_memory* const memory = find(where); memory != nullptr) {
    memory->retire(stream);
  }
}

// The stream may have used memory of every kind.
void cuda_backend::set_capture_scope(device, const stream_ref& stream, bool is_open) noexcept {
  for (const std::unique_ptr<device_memory>& each : memories_) {
    each->set_in_scope(stream, is_open);
  }
}

status cuda_backend::order(device where, const stream_ref& earlier,
                           const stream_ref& later) noexcept {
  device_memory* const memory = find(where);
  return memory == nullptr ? unknown_device(where, 0) : memory->order(earlier, later);
}

bool cuda_backend::is_capturing(device where, const stream_ref& stream) const noexcept {
  return find(where) != nullptr && driver_->is_capturing(handle_of(stream));
}

bool cuda_backend::is_recycled(device where, const stream_ref& stream,
                               std::uint64_t id) const noexcept {
  return find(where) != nullptr && driver_->is_recycled(handle_of(stream), id);
}

std::size_t cuda_backend::trim(device where, std::size_t keep_bytes) noexcept {
  device_memory* const memory = find(where);
  return memory == nullptr ? 0 : memory->trim(keep_bytes);
}

std::size_t cuda_backend::decay(device where) noexcept {
  device_memory* const memory = find(where);
  return memory == nullptr ? 0 : memory->decay();
}

memory_info cuda_backend::memory(device where) const noexcept {
  const device_memory* const memory = find(where);
  if (memory == nullptr) {
    return {};
  }
  memory_info info = memory->memory();
  if (where.kind() != device_kind::cuda) {
    return info;
  }
  const result<physical_memory> now = driver_->memory();
  if (now) {
    std::size_t ours = 0;
    for (const std::unique_ptr<device_memory>& other : memories_) {
      if (other->description().where.kind() == device_kind::cuda) {
        ours += other->source().held_bytes(other->memory().reserved_bytes);
      }
    }
    const std::size_t used = now->total_bytes - std::min(now->total_bytes, now->free_bytes);
    info.foreign_bytes = used - std::min(used, ours);
  }
  return info;
}

result<std::size_t> cuda_backend::extend(device where, const block& what,
                                         std::size_t bytes) noexcept {
  device_memory* const memory = find(where);
  return memory == nullptr ? unknown_device(where, bytes) : memory->extend(what, bytes);
}

std::size_t cuda_backend::populate(device where, std::span<const block> blocks,
                                   unsigned threads) noexcept {
  device_memory* const memory = find(where);
  return memory == nullptr ? 0 : memory->source().populate(blocks, threads);
}

// Unified addressing tells the driver what each side is: this GPU, another one, host memory.
status cuda_backend::copy(device where, void* dst, const void* src, std::size_t bytes,
                          stream_ref stream) noexcept {
  if (find(where) == nullptr) {
    return unknown_device(where, bytes);
  }
  if (bytes == 0) {
    return {};
  }
  const status why = driver_->copy(dst, src, bytes, handle_of(stream));
  return why.ok() ? why : support::complete(why, bytes, where);
}

status cuda_backend::fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                          stream_ref stream) noexcept {
  if (find(where) == nullptr) {
    return unknown_device(where, bytes);
  }
  if (bytes == 0) {
    return {};
  }
  const status why = driver_->fill(dst, value, bytes, handle_of(stream));
  return why.ok() ? why : support::complete(why, bytes, where);
}

status cuda_backend::prefetch(device where, std::span<const std::byte> range, device to,
                              stream_ref stream) noexcept {
  device_memory* const memory = find(where);
  return memory == nullptr ? unknown_device(where, range.size())
                           : memory->source().prefetch(range, to, handle_of(stream));
}

status cuda_backend::advise(device where, std::span<const std::byte> range,
                            const advice_request& request) noexcept {
  device_memory* const memory = find(where);
  return memory == nullptr ? unknown_device(where, range.size())
                           : memory->source().advise(range, request);
}

status cuda_backend::synchronise(device where, stream_ref stream) noexcept {
  device_memory* const memory = find(where);
  if (memory == nullptr) {
    return unknown_device(where, 0);
  }
  const status why = memory->synchronise(stream);
  return why.ok() ? why : support::complete(why, 0, where);
}

const char* cuda_backend::verify() const noexcept {
  for (const std::unique_ptr<device_memory>& memory : memories_) {
    if (const char* const broken = memory->verify(); broken != nullptr) {
      return broken;
    }
  }
  return nullptr;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
