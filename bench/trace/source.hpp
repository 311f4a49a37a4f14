// SPDX-License-Identifier: Apache-2.0
//
// Where a reader's bytes come from: a file, standard input, or memory. Private to the reader.
// Counts the bytes taken, so that every error can name its offset. One thread at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

namespace tidepool::bench::trace {

class byte_source {
 public:
  struct file_closer {
    void operator()(std::FILE* file) const noexcept {
      if (file != stdin) {
        std::fclose(file);
      }
    }
  };
  using file_handle = std::unique_ptr<std::FILE, file_closer>;

  explicit byte_source(file_handle file) noexcept : file_(std::move(file)) {}
  explicit byte_source(std::span<const std::byte> memory) noexcept : memory_(memory) {}

  /// Fills `into` as far as the source lasts; fewer bytes mean its end or a failed read.
  [[nodiscard]] std::size_t read(std::span<std::byte> into) noexcept {
    std::size_t taken = 0;
    if (file_) {
      taken = std::fread(into.data(), 1, into.size(), file_.get());
    } else {
      taken = std::min(into.size(), memory_.size());
      if (taken != 0) {
        std::memcpy(into.data(), memory_.data(), taken);
        memory_ = memory_.subspan(taken);
      }
    }
    offset_ += taken;
    return taken;
  }

  [[nodiscard]] bool has_failed() const noexcept { return file_ && std::ferror(file_.get()) != 0; }
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }

 private:
  file_handle file_;  // null: memory_ is the source
  std::span<const std::byte> memory_;
  std::uint64_t offset_ = 0;
};

}  // namespace tidepool::bench::trace
