// SPDX-License-Identifier: Apache-2.0
//
// A probe: one question to a real driver that the simulator cannot answer for it. It runs alone in
// a process of its own, notes numbers, and passes, fails or says why it was skipped. The tables of
// all probes are at the end of this file. Not thread-safe but for expect.
#pragma once

#include "../../cudasim/include/cudasim.h"
#include <tidepool/pool.hpp>

#include <cuda_runtime_api.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tidepool::first_run {

inline constexpr std::size_t kib = 1024;
inline constexpr std::size_t mib = 1024 * kib;
inline constexpr std::size_t gib = 1024 * mib;

enum class outcome { pass, fail, skip };

/// What a probe has found so far.
class findings {
 public:
  /// From any thread. The first failure's text is kept.
  void expect(bool is_so, std::string_view text) {
    const std::lock_guard lock(mutex_);
    if (!is_so && result_ != outcome::fail) {
      result_ = outcome::fail;
      text_ = text;
    }
  }
  void expect(cudaError_t error, std::string_view what) {
    if (error != cudaSuccess) {
      expect(false, std::string(what) + ": " + cudaGetErrorName(error));
    }
  }
  void number(std::string name, double value) { numbers_.emplace_back(std::move(name), value); }
  void skip(std::string_view why) {
    result_ = outcome::skip;
    text_ = why;
  }
  void note(std::string_view text) {
    text_ += text_.empty() ? "" : "; ";
    text_ += text;
  }
  [[nodiscard]] outcome result() const { return result_; }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::span<const std::pair<std::string, double>> numbers() const { return numbers_; }

 private:
  std::mutex mutex_;
  outcome result_ = outcome::pass;
  std::string text_;
  std::vector<std::pair<std::string, double>> numbers_;
};

struct probe {
  const char* name;
  const char* question;  // what the answer decides, in one line
  void (*run)(findings& found);
  bool can_simulate = true;
  bool may_crash = false;  // a crash is an answer
};

[[nodiscard]] std::span<const probe> capture_probes();
[[nodiscard]] std::span<const probe> stream_probes();
[[nodiscard]] std::span<const probe> memory_probes();
[[nodiscard]] std::span<const probe> process_probes();
[[nodiscard]] std::span<const probe> access_probes();

/// Sizes and counts are smaller on the simulator.
[[nodiscard]] inline bool is_simulated() {
  return cudasim_is_present() != 0;
}
[[nodiscard]] inline double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}
/// Microseconds that the call takes.
template <class F>
[[nodiscard]] double microseconds_of(F&& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  return 1e6 * seconds_since(begin);
}

/// Host memory and all devices of GPU 0.
[[nodiscard]] std::unique_ptr<pool> make_pool();

/// Destroyed with its end. The pool, if there is one, is told before.
class stream {
 public:
  explicit stream(pool* of = nullptr);
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;
  ~stream();
  [[nodiscard]] cudaStream_t get() const { return handle_; }
  [[nodiscard]] stream_ref ref() const;

 private:
  pool* of_;
  cudaStream_t handle_ = nullptr;
};

/// A function of the driver, found as the runtime finds it; null: there is none.
[[nodiscard]] void* driver_function(const char* name);

}  // namespace tidepool::first_run
