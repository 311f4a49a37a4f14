// SPDX-License-Identifier: Apache-2.0
//
// Identifiers: strong types around integers. They own nothing and may be copied and stored freely.
// An id whose tensor is gone is stale: a call with it returns an error and never reaches another
// tensor.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>  // for std::hash, at a fraction of what <functional> costs

namespace tidepool {
inline namespace v0 {

/// Names one tensor of one pool for ever: slot, generation and the pool's tag. 0 names nothing.
/// No device is part of it, so it survives a move between devices. Its bits are opaque.
class tensor_id {
 public:
  constexpr tensor_id() noexcept = default;
  [[nodiscard]] static constexpr tensor_id from_value(std::uint64_t value) noexcept {
    tensor_id id;
    id.value_ = value;
    return id;
  }
  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return value_ != 0; }
  friend constexpr bool operator==(tensor_id, tensor_id) noexcept = default;
  friend constexpr auto operator<=>(tensor_id, tensor_id) noexcept = default;

 private:
  std::uint64_t value_ = 0;
};
static_assert(sizeof(tensor_id) == 8);

/// An interned name of one pool (pool::intern). The default names nothing.
class name_id {
 public:
  constexpr name_id() noexcept = default;
  [[nodiscard]] static constexpr name_id from_value(std::uint32_t value) noexcept {
    name_id id;
    id.value_ = value;
    return id;
  }
  [[nodiscard]] constexpr std::uint32_t value() const noexcept { return value_; }
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return value_ != 0; }
  friend constexpr bool operator==(name_id, name_id) noexcept = default;
  friend constexpr auto operator<=>(name_id, name_id) noexcept = default;

 private:
  std::uint32_t value_ = 0;
};
static_assert(sizeof(name_id) == 4);

}  // namespace v0
}  // namespace tidepool

template <>
struct std::hash<tidepool::tensor_id> {
  std::size_t operator()(tidepool::tensor_id id) const noexcept {
    return std::hash<std::uint64_t>{}(id.value());
  }
};
template <>
struct std::hash<tidepool::name_id> {
  std::size_t operator()(tidepool::name_id id) const noexcept {
    return std::hash<std::uint32_t>{}(id.value());
  }
};
