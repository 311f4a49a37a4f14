// SPDX-License-Identifier: Apache-2.0
//
// stream_ref: a queue of device work, as a value. It owns nothing; the stream must outlive the work
// that is ordered on it. Plain CPU memory ignores streams: a free there is immediate.
#pragma once

#include <cstdint>

namespace tidepool {
inline namespace v0 {

enum class stream_kind : std::uint8_t {
  none = 0,        ///< no stream: host order
  ordinary = 1,    ///< a stream the application made
  legacy = 2,      ///< CUDA's legacy default stream
  per_thread = 3,  ///< CUDA's per-thread default stream
};

/// {handle, kind, dense number}. pool::attach gives a stream its number once; a stream_ref with the
/// number needs no look-up. 0 means "not attached".
struct stream_ref {
  void* handle = nullptr;  ///< cudaStream_t and the like, never dereferenced by core
  stream_kind kind = stream_kind::none;
  std::uint32_t number = 0;  ///< dense number within the pool, 0: not attached

  [[nodiscard]] constexpr bool is_none() const noexcept {
    return kind == stream_kind::none && handle == nullptr;
  }
  /// Is it the device's default stream? Where a stream is needed, "no stream" means the default
  /// one.
  [[nodiscard]] constexpr bool is_default() const noexcept {
    return kind == stream_kind::legacy || (handle == nullptr && kind != stream_kind::per_thread);
  }
  friend constexpr bool operator==(const stream_ref&, const stream_ref&) noexcept = default;
};

}  // namespace v0
}  // namespace tidepool
