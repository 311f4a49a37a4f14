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
  explicit annotations(std::unique_ptr<annotator> to) noexcept
      : told(std::move(to)), slabs(*told) {}

  const std::unique_ptr<annotator> told;
  annotated_slabs slabs;
};

class annotated_backend final : public backend {
 public:
  /// Pre: neither is null, and the sources of `of` are annotated_sources over `with`.
  annotated_backend(std::unique_ptr<backend> of, std::unique_ptr<annotations> with) noexcept
      : with_(std::move(with)), of_(std::move(of)) {}

  [[nodiscard]] std::span<const device_description> devices() const noexcept override {
    return of_->devices();
  }
  void attach(backend_host& host) noexcept override { of_->attach(host); }
  [[nodiscard]] refill_result refill(const block_request& request,
                                     std::span<block> blocks) noexcept override;
  [[nodiscard]] result<block> allocate_large(const block_request& request) noexcept override;
  void take_back(device where, std::span<const block> blocks, stream_ref stream) noexcept override;
  void take_back_after(device where, const block& what,
                       std::span<const stream_ref> streams) noexcept override;
  [[nodiscard]] result<std::uint64_t> stream_id(device where,
                                                const stream_ref& stream) noexcept override {
    return of_->stream_id(where, stream);
  }
  void retire(device where, const stream_ref& stream) noexcept override {
    of_->retire(where, stream);
  }
  [[nodiscard]] status order(device where, const stream_ref& earlier,
                             const stream_ref& later) noexcept override {
    return of_->order(where, earlier, later);
  }
  [[nodiscard]] bool is_capturing(device where, const stream_ref& stream) const noexcept override {
    return of_->is_capturing(where, stream);
  }
  std::size_t trim(device where, std::size_t keep_bytes) noexcept override;
  std::size_t decay(device where) noexcept override;
  [[nodiscard]] memory_info memory(device where) const noexcept override {
    return of_->memory(where);
  }
  [[nodiscard]] result<std::size_t> extend(device where, const block& what,
                                           std::size_t bytes) noexcept override;
  std::size_t populate(device where, std::span<const block> blocks,
                       unsigned threads) noexcept override {
    return of_->populate(where, blocks, threads);
  }
  [[nodiscard]] status copy(device where, void* dst, const void* src, std::size_t bytes,
                            stream_ref stream) noexcept override {
    return of_->copy(where, dst, src, bytes, stream);
  }
  [[nodiscard]] status fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                            stream_ref stream) noexcept override {
    return of_->fill(where, dst, value, bytes, stream);
  }
  [[nodiscard]] status prefetch(device where, std::span<const std::byte> range, device to,
                                stream_ref stream) noexcept override {
    return of_->prefetch(where, range, to, stream);
  }
  [[nodiscard]] status advise(device where, std::span<const std::byte> range,
                              const advice_request& request) noexcept override {
    return of_->advise(where, range, request);
  }
  [[nodiscard]] status synchronise(device where, stream_ref stream) noexcept override {
    return of_->synchronise(where, stream);
  }
  [[nodiscard]] const char* verify() const noexcept override { return of_->verify(); }

 private:
  const std::unique_ptr<annotations> with_;  // outlives the sources of of_
  const std::unique_ptr<backend> of_;
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
