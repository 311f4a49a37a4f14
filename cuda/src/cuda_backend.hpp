// SPDX-License-Identifier: Apache-2.0
//
// cuda_backend: the backend of one GPU. It finds the device_memory of each request and does what
// concerns the GPU as a whole: copies, fills, waiting for streams. Thread-safe: constant after
// construction, but for the parts that are thread-safe themselves.
#pragma once

#include "driver/driver.hpp"
#include "heap/device_memory.hpp"
#include <tidepool/backend.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace cuda {

class cuda_backend final : public backend {
 public:
  /// Pre: memories is not empty.
  cuda_backend(std::unique_ptr<driver> gpu, std::vector<std::unique_ptr<device_memory>> memories,
               std::vector<device_description> descriptions) noexcept;
  ~cuda_backend() override;

  [[nodiscard]] std::span<const device_description> devices() const noexcept override {
    return descriptions_;
  }
  void attach(backend_host& host) noexcept override;
  [[nodiscard]] refill_result refill(const block_request& request,
                                     std::span<block> blocks) noexcept override;
  [[nodiscard]] result<block> allocate_large(const block_request& request) noexcept override;
  void take_back(device where, std::span<const block> blocks, stream_ref stream) noexcept override;
  void take_back_after(device where, const block& what,
                       std::span<const stream_ref> streams) noexcept override;
  [[nodiscard]] result<std::uint64_t> stream_id(device where,
                                                const stream_ref& stream) noexcept override;
  void retire(device where, const stream_ref& stream) noexcept override;
  void set_capture_scope(device where, const stream_ref& stream, bool is_open) noexcept override;
  [[nodiscard]] status order(device where, const stream_ref& earlier,
                             const stream_ref& later) noexcept override;
  [[nodiscard]] bool is_capturing(device where, const stream_ref& stream) const noexcept override;
  [[nodiscard]] bool is_recycled(device where, const stream_ref& stream,
                                 std::uint64_t id) const noexcept override;
  std::size_t trim(device where, std::size_t keep_bytes) noexcept override;
  std::size_t decay(device where) noexcept override;
  [[nodiscard]] memory_info memory(device where) const noexcept override;
  [[nodiscard]] result<std::size_t> extend(device where, const block& what,
                                           std::size_t bytes) noexcept override;
  std::size_t populate(device where, std::span<const block> blocks,
                       unsigned threads) noexcept override;
  [[nodiscard]] status copy(device where, void* dst, const void* src, std::size_t bytes,
                            stream_ref stream) noexcept override;
  [[nodiscard]] status fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                            stream_ref stream) noexcept override;
  [[nodiscard]] status prefetch(device where, std::span<const std::byte> range, device to,
                                stream_ref stream) noexcept override;
  [[nodiscard]] status advise(device where, std::span<const std::byte> range,
                              const advice_request& request) noexcept override;
  [[nodiscard]] status synchronise(device where, stream_ref stream) noexcept override;
  [[nodiscard]] const char* verify() const noexcept override;

 private:
  [[nodiscard]] device_memory* find(device where) const noexcept;

  const std::unique_ptr<driver> driver_;
  const std::vector<std::unique_ptr<device_memory>> memories_;
  const std::vector<device_description> descriptions_;  // of each
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
