// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the CUDA backend share: a backend with a budget, streams, words on the device,
// counts of driver calls. On a machine without a GPU, and without cudasim, every test skips
// (gpu.hpp).
#pragma once

#include "../conformance/conformance.hpp"
#include "../cudasim/include/cudasim.h"
#include "../support/sizes.hpp"
#include "gpu.hpp"
#include "touch.hpp"
#include "watched_backend.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/cuda/backend.hpp>
#include <tidepool/cuda/stream.hpp>

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tidepool::test {

inline void expect_success(cudaError_t error) {
  EXPECT_EQ(error, cudaSuccess) << cudaGetErrorString(error);
}

/// Calls of a function since the simulator started; 0 on a real runtime.
[[nodiscard]] inline std::uint64_t calls_of(const char* function) {
  return cudasim_is_present() != 0 ? cudasim_calls(function) : 0;
}

/// No other process takes or gives back memory of the GPU meanwhile.
[[nodiscard]] inline bool has_gpu_alone() {
  return cudasim_is_present() != 0;
}

/// All calls, without those of the questions that checked builds ask at each allocation on a
/// stream.
[[nodiscard]] inline std::uint64_t calls_of_work() {
  std::uint64_t checks = 0;
  if (TIDEPOOL_ASSERT_LEVEL >= 2) {
    for (const char* const asked : {"cudaStreamIsCapturing", "cudaStreamGetId", "cudaGetDevice",
                                    "cudaThreadExchangeStreamCaptureMode"}) {
      checks += calls_of(asked);
    }
  }
  return calls_of(nullptr) - checks;
}

/// A stream, with a number as a pool gives it, that is retired before it is destroyed.
class test_stream {
 public:
  explicit test_stream(backend& of, std::uint32_t number = 0,
                       unsigned flags = cudaStreamNonBlocking)
      : of_(&of), number_(number) {
    expect_success(cudaStreamCreateWithFlags(&handle_, flags));
  }
  test_stream(test_stream&& other) noexcept
      : of_(other.of_), handle_(other.handle_), number_(other.number_) {
    other.handle_ = nullptr;
  }
  test_stream& operator=(test_stream&&) = delete;
  ~test_stream() {
    if (handle_ != nullptr) {
      for (const device_description& about : of_->devices()) {
        of_->retire(about.where, ref());
      }
      expect_success(cudaStreamDestroy(handle_));
    }
  }
  [[nodiscard]] cudaStream_t get() const { return handle_; }
  [[nodiscard]] stream_ref ref() const {
    stream_ref made = cuda::stream(handle_);
    made.number = number_;
    return made;
  }
  void wait() const { expect_success(cudaStreamSynchronize(handle_)); }

 private:
  backend* of_;
  cudaStream_t handle_ = nullptr;
  std::uint32_t number_;
};

/// A counter in device memory that check kernels add to.
class wrong_words {
 public:
  wrong_words() {
    expect_success(cudaMalloc(&at_, sizeof(unsigned)));
    expect_success(cudaMemset(at_, 0, sizeof(unsigned)));
    expect_success(cudaDeviceSynchronize());
  }
  wrong_words(const wrong_words&) = delete;
  wrong_words& operator=(const wrong_words&) = delete;
  ~wrong_words() { expect_success(cudaFree(at_)); }
  [[nodiscard]] unsigned* get() const { return static_cast<unsigned*>(at_); }
  /// Waits for the device.
  [[nodiscard]] unsigned count() const {
    unsigned n = 0;
    expect_success(cudaDeviceSynchronize());
    expect_success(cudaMemcpy(&n, at_, sizeof n, cudaMemcpyDefault));
    return n;
  }

 private:
  void* at_ = nullptr;
};

/// A backend of GPU 0 and its budget.
class CudaBackend : public ::testing::Test {
 protected:
  void SetUp() override {
    result<std::unique_ptr<backend>> made = try_make_watched();
    if (!made && made.error().code == errc::backend_unavailable) {
      ASSERT_FALSE(gpu_is_required()) << to_string(made.error());
      GTEST_SKIP() << "skipped, no GPU: " << to_string(made.error());
    }
    ASSERT_TRUE(made.has_value()) << to_string(made.error());
    load_kernels();
    tested = std::move(*made);
    tested->attach(host);
  }
  void TearDown() override {
    if (tested == nullptr) {
      return;
    }
    end_foreign_captures();
    EXPECT_EQ(tested->verify(), nullptr);
    expect_success(cudaDeviceSynchronize());
    (void)tested->trim(where, 0);
    EXPECT_EQ(tested->memory(where).reserved_bytes, 0U);
    EXPECT_EQ(host.claimed.load(), 0U);
    tested.reset();
    EXPECT_EQ(host.claimed.load(), 0U);
  }

  [[nodiscard]] block_request ask(std::size_t bytes, const stream_ref& stream) const {
    return {.where = where, .bytes = bytes, .alignment = 256, .stream = stream};
  }
  [[nodiscard]] block make_large(std::size_t bytes, const stream_ref& stream) {
    const result<block> made = tested->allocate_large(ask(bytes, stream));
    EXPECT_TRUE(made.has_value()) << to_string(made.error());
    return made ? *made : block{};
  }
  void give_back(const block& what, const stream_ref& stream) {
    tested->take_back(where, {&what, 1}, stream);
  }
  [[nodiscard]] memory_info memory() const { return tested->memory(where); }

  device where = device::cuda(0);
  budget host;
  std::unique_ptr<backend> tested;
};

/// Fills the beginning and the end of a block.
inline void fill(const block& what, unsigned value, cudaStream_t stream) {
  const std::size_t words = what.bytes / sizeof(unsigned);
  auto* const at = static_cast<unsigned*>(what.data);
  const std::size_t n = words < 2048 ? words : 1024;
  launch_fill(at, n, value, stream);
  if (n != words) {
    launch_fill(at + words - n, n, value, stream);
  }
}

inline void check(const block& what, unsigned value, const wrong_words& wrong,
                  cudaStream_t stream) {
  const std::size_t words = what.bytes / sizeof(unsigned);
  const auto* const at = static_cast<const unsigned*>(what.data);
  const std::size_t n = words < 2048 ? words : 1024;
  launch_check(at, n, value, wrong.get(), stream);
  if (n != words) {
    launch_check(at + words - n, n, value, wrong.get(), stream);
  }
}

/// Work that keeps a stream busy for a while.
inline void keep_busy(const block& what, cudaStream_t stream) {
  for (unsigned i = 0; i != 40; ++i) {
    fill(what, i, stream);
  }
}

}  // namespace tidepool::test
