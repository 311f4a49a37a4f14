// SPDX-License-Identifier: Apache-2.0
//
// Connects the C++ and the C interface, for backends that offer a factory in C (tidepool/cpu.h is
// one), and for programs that are written in C but have a backend in C++.
#pragma once

#include <tidepool/backend.hpp>
#include <tidepool/c_types.h>
#include <tidepool/export.hpp>
#include <tidepool/result.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <type_traits>

namespace tidepool {
inline namespace v0 {

/// The handle owns the backend until tidepool_pool_create or tidepool_backend_destroy.
[[nodiscard]] inline tidepool_backend* to_c(std::unique_ptr<backend> source) noexcept {
  return reinterpret_cast<tidepool_backend*>(source.release());
}
/// The inverse: the handle must not be used again.
[[nodiscard]] inline std::unique_ptr<backend> from_c(tidepool_backend* handle) noexcept {
  return std::unique_ptr<backend>(reinterpret_cast<backend*>(handle));
}

/// Returns the code of `why`. Unless that is success, `why` becomes the calling thread's
/// tidepool_last_error. Pre: why.text is null or static.
TIDEPOOL_EXPORT tidepool_status record_error(const status& why) noexcept;

namespace detail {

/// A longer struct can only have a wrong size; no later version will have one.
inline constexpr std::size_t longest_c_struct = 4096;

[[nodiscard]] inline bool is_c_size(std::size_t size) noexcept {
  return size != 0 && size % 8 == 0 && size <= longest_c_struct;
}

/// Reads a struct that begins with its size (tidepool/c_types.h). Fields that it does not have
/// become 0. False: the size is not possible, or a field that this version does not know is set.
template <class T>
[[nodiscard]] bool read_c_struct(const T* from, T& to) noexcept {
  static_assert(std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> &&
                sizeof(T) % 8 == 0 && sizeof(T) <= longest_c_struct);
  std::size_t size = 0;
  std::memcpy(&size, from, sizeof size);
  if (!is_c_size(size)) {
    return false;
  }
  const auto* const bytes = reinterpret_cast<const unsigned char*>(from);
  if (size > sizeof(T) &&
      std::any_of(bytes + sizeof(T), bytes + size, [](unsigned char byte) { return byte != 0; })) {
    return false;
  }
  to = {};
  std::memcpy(&to, from, std::min(size, sizeof(T)));
  to.size = sizeof(T);
  return true;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
