// SPDX-License-Identifier: Apache-2.0
//
// Size classes: there are eight per doubling, so a block is at most 12.5 % larger than asked for.
// Up to 1 MiB a block has exactly the size of its class. A larger block has a length of its own
// within the bin of its class. The five size categories of the seed system are here, too; they are
// for people, statistics and plans.
//
// clang-format off
//   class of a size   t = (bytes - 1) | 63, e = floor(log2 t), class = 8 e + (t >> (e - 3))
//                     for bytes >= 1
//   size of a class   (m + 1) << (e - 3)
//                     for class = 8 e + m with 8 <= m < 16 (or m = 15 for the lowest)
// clang-format on
// Classes to which no multiple of 64 maps are never used.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {

inline constexpr std::size_t cache_line = 64;  ///< bytes; also the host's default alignment
inline constexpr std::size_t largest_small_block = std::size_t{1} << 20;

/// Pre: bytes >= 1. Post: size_of_class(c) >= bytes and no smaller used class has this.
[[nodiscard]] constexpr unsigned size_class_of(std::size_t bytes) noexcept {
  const std::uint64_t t = (std::uint64_t{bytes} - 1) | 63;
  const unsigned shift = (63U ^ static_cast<unsigned>(std::countl_zero(t))) - 3;  // e - 3
  return static_cast<unsigned>(t >> shift) + 8 * shift + 24;
}

inline constexpr unsigned first_size_class = size_class_of(1);
inline constexpr unsigned last_small_class = size_class_of(largest_small_block);
/// Bins for every 64-bit size: classes first_size_class .. first_size_class + size_class_count - 1.
inline constexpr unsigned size_class_count = 8 * 63 + 15 - first_size_class + 1;

/// The largest size of a class, in bytes; saturates at SIZE_MAX. Pre: c was made by size_class_of.
[[nodiscard]] constexpr std::size_t size_of_class(unsigned c) noexcept {
  const unsigned e = c / 8 - 1;
  const std::size_t m = c % 8 + 8;
  if (e >= 63 && m == 15) {
    return SIZE_MAX;
  }
  return (m + 1) << (e - 3);
}

/// The seed system's size categories.
enum class size_category : std::uint8_t {
  tiny = 0,    ///< up to 4 KiB
  small = 1,   ///< up to 64 KiB
  medium = 2,  ///< up to 1 MiB
  large = 3,   ///< up to 16 MiB
  huge = 4,    ///< above
};
inline constexpr unsigned size_category_count = 5;

[[nodiscard]] constexpr size_category size_category_of(std::size_t bytes) noexcept {
  if (bytes <= std::size_t{4} << 10)
    return size_category::tiny;
  if (bytes <= std::size_t{64} << 10)
    return size_category::small;
  if (bytes <= std::size_t{1} << 20)
    return size_category::medium;
  if (bytes <= std::size_t{16} << 20)
    return size_category::large;
  return size_category::huge;
}

static_assert(size_of_class(size_class_of(1)) == 64);
static_assert(size_of_class(size_class_of(64)) == 64);
static_assert(size_of_class(size_class_of(65)) == 128);
static_assert(size_of_class(size_class_of(513)) == 576);
static_assert(size_of_class(size_class_of(28672)) == 28672);
static_assert(size_of_class(size_class_of(largest_small_block)) == largest_small_block);

}  // namespace v0
}  // namespace tidepool
