// SPDX-License-Identifier: Apache-2.0
//
// The peers of a GPU: other GPUs that may access its memory from kernels and copies of their own.
// They are chosen once, when a backend is made. No context is made on any of them.
#pragma once

#include <tidepool/cuda/backend.hpp>
#include <tidepool/result.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace cuda {

class driver;

class peer_list {
 public:
  static constexpr std::size_t most = 63;

  [[nodiscard]] std::span<const int> ordinals() const noexcept { return {at_.data(), count_}; }
  /// False: there are `most` already.
  [[nodiscard]] bool add(int ordinal) noexcept {
    if (count_ == most) {
      return false;
    }
    at_[count_++] = ordinal;
    return true;
  }
  void remove(int ordinal) noexcept {
    count_ = static_cast<std::size_t>(
        std::remove(at_.begin(), at_.begin() + static_cast<std::ptrdiff_t>(count_), ordinal) -
        at_.begin());
  }

  bool is_named = false;  // the application chose each, so none may be left out

 private:
  std::array<int, most> at_{};
  std::size_t count_ = 0;
};

/// The GPUs that the options choose for this one. Errors: invalid_argument (itself, one twice,
/// ordinals without peer_access::these), unknown_device, unsupported (a GPU that was named cannot
/// reach this one), too_many, and what the driver says.
[[nodiscard]] result<peer_list> find_peers(driver& gpu, const backend_options& options) noexcept;

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
