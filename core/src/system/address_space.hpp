// SPDX-License-Identifier: Apache-2.0
//
// address_space: a zero-filled, readable and writable range of addresses whose pages are backed
// when they are first written. For core's own tables; tensors' memory comes from backends.
#pragma once

#include <cstddef>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace detail {

class address_space {
 public:
  address_space() noexcept = default;
  /// Reserves `bytes`, rounded up to pages. Empty when the system refuses.
  [[nodiscard]] static address_space reserve(std::size_t bytes) noexcept;
  address_space(address_space&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  address_space& operator=(address_space&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  address_space(const address_space&) = delete;
  address_space& operator=(const address_space&) = delete;
  ~address_space();

  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }
  /// Asks for huge pages. The first 2 MiB of a range above 64 MiB keep small pages, because such a
  /// range is room for growth.
  void advise_huge() const noexcept;
  /// Owns the range no longer, which somebody has to release.
  [[nodiscard]] void* detach() noexcept {
    bytes_ = 0;
    return std::exchange(data_, nullptr);
  }
  /// Gives a range back that reserve made and that no object owns any more.
  static void release(void* data, std::size_t bytes) noexcept;
  /// Makes all bytes zero and gives their memory back. False: the system refused.
  bool clear() noexcept;

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
