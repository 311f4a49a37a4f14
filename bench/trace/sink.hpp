// SPDX-License-Identifier: Apache-2.0
//
// Where a writer's bytes go: a file, standard output, or memory. Private to the writer.
// One thread at a time.
#pragma once

#include <cstddef>
#include <cstdio>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace tidepool::bench::trace {

class byte_sink {
 public:
  struct file_closer {
    void operator()(std::FILE* file) const noexcept {
      if (file != stdout) {
        std::fclose(file);
      }
    }
  };
  using file_handle = std::unique_ptr<std::FILE, file_closer>;

  explicit byte_sink(file_handle file) noexcept : file_(std::move(file)) {}
  explicit byte_sink(std::vector<std::byte>& memory) noexcept : memory_(&memory) {}

  /// False if the bytes could not all be written. May throw std::bad_alloc in memory.
  [[nodiscard]] bool write(std::span<const std::byte> bytes) {
    if (memory_ != nullptr) {
      memory_->insert(memory_->end(), bytes.begin(), bytes.end());
      return true;
    }
    return file_ && std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) == bytes.size();
  }

  /// Flushes and closes; false if the system reported an error, now or before.
  [[nodiscard]] bool close() noexcept {
    if (memory_ != nullptr) {
      return true;
    }
    if (!file_ || std::fflush(file_.get()) != 0) {
      return false;
    }
    std::FILE* file = file_.release();
    return file == stdout || std::fclose(file) == 0;
  }

 private:
  file_handle file_;
  std::vector<std::byte>* memory_ = nullptr;
};

}  // namespace tidepool::bench::trace
