// SPDX-License-Identifier: Apache-2.0
//
// A bar on stderr, drawn between passes only, so that it never runs while something is timed. Not
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

namespace tidepool::bench {

class progress_bar {
 public:
  void start(bool is_shown, std::size_t steps) noexcept {
    is_shown_ = is_shown;
    steps_ = steps;
    done_ = 0;
  }
  void step() noexcept {
    ++done_;
    if (is_shown_ && steps_ != 0) {
      const int filled = static_cast<int>(width * done_ / steps_);
      std::fprintf(stderr, "\r  [%.*s%*s] pass %zu of %zu", filled, bar, width - filled, "", done_,
                   steps_);
      std::fflush(stderr);
    }
  }
  void finish() noexcept {
    if (is_shown_) {
      std::fprintf(stderr, "\r%*s\r", width + 40, "");
      std::fflush(stderr);
    }
  }

 private:
  static constexpr int width = 40;
  static constexpr const char* bar = "########################################";
  bool is_shown_ = false;
  std::size_t steps_ = 0;
  std::size_t done_ = 0;
};

}  // namespace tidepool::bench
