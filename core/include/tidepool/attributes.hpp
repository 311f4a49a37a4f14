// SPDX-License-Identifier: Apache-2.0
//
// Attributes of a tensor: its category (what it is), its lifecycle (the state that it is in) and
// flags. A change of any of them touches the tensor's record only, never its data.
#pragma once

#include <cstdint>

namespace tidepool {
inline namespace v0 {

/// What a tensor is. 0..15 are built in, 16..255 come from pool::register_category. Values are
/// stable (traces, C ABI). Categories 0..7 are temporary by default, 8..15 persistent.
enum class category : std::uint8_t {
  temporary = 0,
  activation = 1,
  workspace = 2,
  input = 3,
  output = 4,
  staging = 5,
  communication = 6,
  gradient = 7,
  weight = 8,
  kv_cache = 9,
  expert = 10,
  embedding = 11,
  adapter = 12,
  optimizer = 13,
  persistent = 14,
  other = 15,
};
inline constexpr unsigned built_in_categories = 16;

/// The state of a tensor. `automatic` can be asked for, but is never an answer: it stands for the
/// state that the category decides.
enum class lifecycle : std::uint8_t {
  temporary = 0,   ///< expected to be freed soon
  persistent = 1,  ///< expected to stay
  inactive = 2,    ///< not needed now; first candidate for eviction and compression
  compressed = 3,  ///< its bytes are held compressed
  evicted = 4,     ///< its bytes are on another device than wanted
  automatic = 255,
};
/// The lifecycles that a tensor can be in: 0..lifecycle_count - 1.
inline constexpr unsigned lifecycle_count = 5;

/// Flags of a tensor; a set.
enum class tensor_flags : std::uint8_t {
  none = 0,
  pinned_in_place = 1 << 0,  ///< between pin() and unpin(): its data must not move
  shared = 1 << 1,           ///< more than one reference was ever handed out
  tracked = 1 << 2,          ///< has an access entry
  movable = 1 << 3,          ///< data may move; read between pin() and unpin()
  adopted = 1 << 4,          ///< foreign memory; the pool does not own its bytes
  slice = 1 << 5,            ///< a part of another tensor's block
  keyed = 1 << 6,            ///< has a caller's key
  used_elsewhere = 1 << 7,   ///< other streams than its own use it: pool::record_use
};
[[nodiscard]] constexpr tensor_flags operator|(tensor_flags a, tensor_flags b) noexcept {
  return static_cast<tensor_flags>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
[[nodiscard]] constexpr tensor_flags operator&(tensor_flags a, tensor_flags b) noexcept {
  return static_cast<tensor_flags>(static_cast<std::uint8_t>(a) & static_cast<std::uint8_t>(b));
}
[[nodiscard]] constexpr tensor_flags operator~(tensor_flags a) noexcept {
  return static_cast<tensor_flags>(~static_cast<unsigned>(a) & 0xffU);
}
[[nodiscard]] constexpr bool any(tensor_flags flags) noexcept {
  return flags != tensor_flags::none;
}

/// The lifecycle of a new tensor of a built-in category when none is asked for.
[[nodiscard]] constexpr lifecycle default_lifecycle(category what) noexcept {
  return static_cast<std::uint8_t>(what) < 8 ? lifecycle::temporary : lifecycle::persistent;
}

/// Does every tensor of the category have an access entry (access.hpp)? Tensors of other categories
/// have one only if they are tracked.
[[nodiscard]] constexpr bool is_evictable(category what) noexcept {
  return static_cast<std::uint8_t>(what) < built_in_categories &&
         default_lifecycle(what) == lifecycle::persistent;
}

}  // namespace v0
}  // namespace tidepool
