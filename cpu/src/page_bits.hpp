// SPDX-License-Identifier: Apache-2.0
//
// page_bits: questions about a range of bits, one bit per page (set: backed by memory). Works on
// words that somebody else owns. Ranges are [first, first + n).
#pragma once

#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace cpu {

struct page_range {
  std::uint32_t first = 0;
  std::uint32_t count = 0;  ///< 0: none
};

class page_bits {
 public:
  page_bits() = default;
  explicit page_bits(std::uint64_t* words) noexcept : words_(words) {}

  void set(page_range range) noexcept;
  void clear(page_range range) noexcept;
  /// Number of set bits.
  [[nodiscard]] std::uint32_t count(page_range range) const noexcept;
  /// The first run of set bits in the range, cut off at its ends; count 0: no bit is set.
  [[nodiscard]] page_range first_run(page_range range) const noexcept;
  [[nodiscard]] std::uint32_t longest_run(page_range range) const noexcept;
  /// The smallest range that holds the last n set bits, or all of them where there are fewer.
  [[nodiscard]] page_range last_set(page_range range, std::uint32_t n) const noexcept;

 private:
  [[nodiscard]] std::uint32_t find(std::uint32_t first, std::uint32_t end,
                                   std::uint64_t flip) const noexcept;

  std::uint64_t* words_ = nullptr;
};

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
