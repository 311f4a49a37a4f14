// SPDX-License-Identifier: Apache-2.0
//
// annotated_backend: the backend with an annotator told of its slow operations, and of each block
// that is handed out. It exists only where annotations are on. Thread-safe as the backend is.
#pragma once

#include "annotate/slabs.hpp"
#include <tidepool/backend.hpp>

#include <memory>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// What an annotated backend and its sources share.
struct annotations {
  explicit annotations(std::unique_ptr<annotator> listener) noexcept
      : tool(std::move(listener)), slabs(*tool) {}

  const std::unique_ptr<annotator> tool;
  annotated_slabs slabs;
};

class annotated_backend final : public backend {
 public:
  /// Pre: neither is null, and the sources of `wrapped` are annotated_sources over `shared`.
  annotated_backend(std::unique_ptr<backend> wrapped, std::unique_ptr<annotations> shared) noexcept
      : annotations_(std::move(shared)), wrapped_(std::move(wrapped)) {}

  [[nodiscard]] std::span<const device_description> devices() const noexcept override {
    return wrapped_->devices();
  }
  void attach(backend_host& host) noexcept override { wrapped_->attach(host); }
  [[nodiscard]] refill_result refill(const block_request& request,
                                     std::span<block> blocks) noexcept override;
  [[nodiscard]] result<block> allocate_large(const block_request& request) noexcept override;
  void take_back(device where, std::span<const block> blocks, stream_ref stream) noexcept override;
  void take_back_after(device where, const block& what,
                       std::span<const stream_ref> streams) noexcept override;
  [[nodiscard]] result<std::uint64_t> stream_id(device where,
                                                const stream_ref& stream) noexcept override {
    return wrapped_->stream_id(where, stream);
  }
  void retire(device where, const stream_ref& stream) noexcept override {
    wrapped_->retire(where, stream);
  }
  void set_capture_scope(device where, const stream_ref& stream, bool is_open) noexcept override {
    wrapped_->set_capture_scope(where, stream, is_open);
  }
  [[nodiscard]] status order(device where, const stream_ref& earlier,
                             const stream_ref& later) noexcept override {
    return wrapped_->order(where, earlier, later);
  }
  [[nodiscard]] bool is_capturing(device where, const stream_ref& stream) const noexcept override {
    return wrapped_->is_capturing(where, stream);
  }
  [[nodiscard]] bool is_recycled(device where, const stream_ref& stream,
                                 std::uint64_t id) const noexcept override {
    return wrapped_->is_recycled(where, stream, id);
  }
  std::size_t trim(device where, std::size_t keep_bytes) noexcept override;
  std::size_t decay(device where) noexcept override;
  [[nodiscard]] memory_info memory(device where) const noexcept override {
    return wrapped_->memory(where);
  }
  [[nodiscard]] result<std::size_t> extend(device where, const block& what,
                                           std::size_t bytes) noexcept override;
  std::size_t populate(device where, std::span<const block> blocks,
                       unsigned threads) noexcept override {
    return wrapped_->populate(where, blocks, threads);
  }
  [[nodiscard]] status copy(device where, void* dst, const void* src, std::size_t bytes,
                            stream_ref stream) noexcept override {
    return wrapped_->copy(where, dst, src, bytes, stream);
  }
  [[nodiscard]] status fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                            stream_ref stream) noexcept override {
    return wrapped_->fill(where, dst, value, bytes, stream);
  }
  [[nodiscard]] status prefetch(device where, std::span<const std::byte> range, device target,
                                stream_ref stream) noexcept override {
    return wrapped_->prefetch(where, range, target, stream);
  }
  [[nodiscard]] status advise(device where, std::span<const std::byte> range,
                              const advice_request& request) noexcept override {
    return wrapped_->advise(where, range, request);
  }
  [[nodiscard]] status synchronise(device where, stream_ref stream) noexcept override {
    return wrapped_->synchronise(where, stream);
  }
  [[nodiscard]] const char* verify() const noexcept override { return wrapped_->verify(); }

 private:
  const std::unique_ptr<annotations> annotations_;  // outlives the sources of wrapped_
  const std::unique_ptr<backend> wrapped_;
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
