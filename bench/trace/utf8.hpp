// SPDX-License-Identifier: Apache-2.0
//
// Whether bytes are well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF).
#pragma once

#include <cstddef>
#include <string_view>

namespace tidepool::bench::trace {

[[nodiscard]] inline bool is_utf8(std::string_view text) noexcept {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto first = static_cast<unsigned char>(text[i]);
    if (first < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() - i < length) {
      return false;
    }
    for (std::size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0u) != 0x80u) {
        return false;
      }
    }
    const auto second = static_cast<unsigned char>(text[i + 1]);
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
        (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) {
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace tidepool::bench::trace
