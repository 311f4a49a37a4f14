// SPDX-License-Identifier: Apache-2.0
//
// Reads the text form of a trace line by line, with a bound on the length of a line. It knows
// nothing of what the lines mean. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <streambuf>
#include <string>
#include <string_view>

namespace tidepool::bench::trace {

inline constexpr std::size_t max_line_bytes = 64u << 20;

/// The lines of a text, one after the other, in one buffer.
class line_reader {
 public:
  explicit line_reader(std::istream& in) noexcept : in_(*in.rdbuf()) {}

  /// Reads the next line. False at the end of the text.
  bool next() {
    line_.clear();
    ++number_;
    for (int c = in_.sbumpc(); c != std::char_traits<char>::eof(); c = in_.sbumpc()) {
      if (c == '\n') {
        return true;
      }
      if (line_.size() == max_line_bytes) {
        is_too_long_ = true;
        return true;
      }
      line_ += static_cast<char>(c);
    }
    if (line_.empty()) {
      --number_;
    }
    return !line_.empty();
  }

  /// Without its end, be it "\n" or "\r\n".
  [[nodiscard]] std::string_view line() const noexcept {
    std::string_view text = line_;
    if (text.ends_with('\r')) {
      text.remove_suffix(1);
    }
    return text;
  }
  /// The line goes on beyond the limit, and only its beginning was read.
  [[nodiscard]] bool is_too_long() const noexcept { return is_too_long_; }
  /// Of the line read last; the first one is 1.
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

 private:
  std::streambuf& in_;
  std::string line_;
  std::uint64_t number_ = 0;
  bool is_too_long_ = false;
};

}  // namespace tidepool::bench::trace
