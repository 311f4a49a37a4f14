// SPDX-License-Identifier: Apache-2.0
//
// memory_backend: the CPU backend. Translates requests into pages, spans and extents, holds the one
// lock, and keeps the sums. Two heaps, so that users of 4 KiB pages and of 2 MiB pages do not share
// arenas: one of spans for blocks up to 64 KiB, one of extents for all others.
#pragma once

#include "extent_heap.hpp"
#include "os_memory.hpp"
#include "span_heap.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/support/cookie.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace cpu {

class memory_backend : public backend {
 public:
  /// `os` outlives the backend. Pre: the options were checked (see make_backend.cpp).
  memory_backend(const backend_options& options, os_memory& os) noexcept;
  ~memory_backend() override;
  /// Reserves the first address space. Errors: out_of_memory.
  [[nodiscard]] status prepare() noexcept;

  [[nodiscard]] std::span<const device_description> devices() const noexcept override {
    return {&description_, 1};
  }
  void attach(backend_host& host) noexcept override;
  [[nodiscard]] refill_result refill(const block_request& request,
                                     std::span<block> blocks) noexcept override;
  [[nodiscard]] result<block> allocate_large(const block_request& request) noexcept override;
  void take_back(device where, std::span<const block> blocks, stream_ref stream) noexcept override;
  std::size_t trim(device where, std::size_t keep_bytes) noexcept override;
  std::size_t decay(device where) noexcept override;
  [[nodiscard]] memory_info memory(device where) const noexcept override;
  [[nodiscard]] result<std::size_t> extend(device where, const block& what,
                                           std::size_t bytes) noexcept override;
  std::size_t populate(device where, std::span<const block> blocks,
                       unsigned threads) noexcept override;
  [[nodiscard]] const access_kernels* kernels_for_access() const noexcept override;
  [[nodiscard]] const char* verify() const noexcept override;

 private:
  [[nodiscard]] result<block> allocate_extent(std::size_t pages, std::size_t block_bytes,
                                              const block_request& request) noexcept;
  void take_back_one(const block& what) noexcept;
  [[nodiscard]] const char* check_locked() const noexcept;

  os_memory& os_;
  const backend_options options_;
  std::array<char, 48> name_{};
  device_description description_;

  mutable std::mutex mutex_;
  claims claims_;               // guarded by mutex_
  extent_heap small_extents_;   // guarded by mutex_
  extent_heap large_extents_;   // guarded by mutex_
  span_heap spans_;             // guarded by mutex_
  std::uint64_t tick_ = 0;      // guarded by mutex_
  std::size_t used_bytes_ = 0;  // guarded by mutex_: in blocks handed out
};

/// The checks of the public factory: invalid_argument, unknown_device.
[[nodiscard]] status check_options(const backend_options& options, const os_memory& os) noexcept;

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
