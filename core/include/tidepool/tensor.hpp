// SPDX-License-Identifier: Apache-2.0
//
// tensor: the move-only owner of one reference to one tensor of a pool. It may outlive the pool
// handle, because the pool's state stays until its last tensor is gone.
//
// Thread safety: one thread at a time uses an object; the pool behind it is thread-safe.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/ids.hpp>
#include <tidepool/info.hpp>
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>

#include <cstddef>
#include <span>
#include <utility>

namespace tidepool {
inline namespace v0 {

namespace detail {
class pool_core;
TIDEPOOL_EXPORT errc deallocate_id(pool_core* core, tensor_id id) noexcept;
TIDEPOOL_EXPORT errc deallocate_on(pool_core* core, tensor_id id,
                                   const stream_ref& stream) noexcept;
[[nodiscard]] TIDEPOOL_EXPORT void* current_data(pool_core* core, tensor_id id) noexcept;
[[nodiscard]] TIDEPOOL_EXPORT device current_device(pool_core* core, tensor_id id) noexcept;
}  // namespace detail

class tensor {
 public:
  /// Owns nothing.
  tensor() noexcept = default;
  tensor(tensor&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)),
        id_(std::exchange(other.id_, {})),
        data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  tensor& operator=(tensor&& other) noexcept {
    if (this != &other) {
      reset();
      core_ = std::exchange(other.core_, nullptr);
      id_ = std::exchange(other.id_, {});
      data_ = std::exchange(other.data_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  tensor(const tensor&) = delete;
  tensor& operator=(const tensor&) = delete;
  ~tensor() { reset(); }

  /// The address of the first byte; null for zero bytes. It never changes, unless the tensor was
  /// made movable: then read it between pool::pin and pool::unpin.
  [[nodiscard]] void* data() const noexcept {
    return data_ != nullptr || core_ == nullptr ? data_ : detail::current_data(core_, id_);
  }
  /// The number of bytes that were requested.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] tensor_id id() const noexcept { return id_; }
  /// The device that holds the bytes now. Pre: owns a tensor.
  [[nodiscard]] device where() const noexcept { return detail::current_device(core_, id_); }
  [[nodiscard]] explicit operator bool() const noexcept { return core_ != nullptr; }

  /// The data as objects of type T: bytes() / sizeof(T) of them. Pre: host accessible.
  template <class T>
  [[nodiscard]] std::span<T> as() const noexcept {
    return {static_cast<T*>(data()), bytes_ / sizeof(T)};
  }

  /// Gives the reference up. Plain CPU memory is free at once; other memory becomes free in the
  /// order of the stream on which the tensor was allocated.
  void reset() noexcept {
    if (core_ != nullptr) {
      data_ = nullptr;
      bytes_ = 0;
      (void)detail::deallocate_id(std::exchange(core_, nullptr), std::exchange(id_, {}));
    }
  }
  /// The same in the order of `stream`: only work that is ordered after it reuses the memory.
  void reset(const stream_ref& stream) noexcept {
    if (core_ != nullptr) {
      data_ = nullptr;
      bytes_ = 0;
      (void)detail::deallocate_on(std::exchange(core_, nullptr), std::exchange(id_, {}), stream);
    }
  }
  /// Gives the reference to the caller, who frees it with pool::deallocate.
  [[nodiscard]] tensor_id release() noexcept {
    core_ = nullptr;
    data_ = nullptr;
    bytes_ = 0;
    return std::exchange(id_, {});
  }

 private:
  friend class pool;
  tensor(detail::pool_core* core, tensor_id id, void* data, std::size_t bytes) noexcept
      : core_(core), id_(id), data_(data), bytes_(bytes) {}

  detail::pool_core* core_ = nullptr;
  tensor_id id_;
  void* data_ = nullptr;  // null for movable tensors: data() looks it up
  std::size_t bytes_ = 0;
};

}  // namespace v0
}  // namespace tidepool
