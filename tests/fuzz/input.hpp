// SPDX-License-Identifier: Apache-2.0
//
// A fuzzer's bytes read as values; zeros after their end, so that any input is a program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace tidepool::test {

class input {
 public:
  explicit input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool is_empty() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty()) {
      return 0;
    }
    const std::uint8_t first = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return first;
  }
  template <class T>
  T number() {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      value |= std::uint64_t{byte()} << 8 * i;
    }
    return static_cast<T>(value);
  }
  /// Sizes of all magnitudes up to 2^most_bits, small ones and powers of two more often.
  std::size_t size(unsigned most_bits) {
    const std::uint8_t shape = byte();
    const std::size_t base = std::size_t{1} << shape % (most_bits + 1);
    switch (shape >> 6) {
    case 0:
      return byte();
    case 1:
      return base;
    case 2:
      return base - 1;
    default:
      return base + number<std::uint16_t>() % base;
    }
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

/// What a fuzzer takes for a crash.
[[noreturn]] inline void found(const char* what) {
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

inline void require(bool holds, const char* what) {
  if (!holds) {
    found(what);
  }
}

}  // namespace tidepool::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
