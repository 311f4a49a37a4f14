// SPDX-License-Identifier: Apache-2.0
//
// What tests of a whole pool on the GPU share: host memory and all devices of GPU 0, streams,
// kernels that touch a tensor.
#pragma once

#include "support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace tidepool::test {

/// A CUDA stream that is retired and destroyed.
class pool_stream {
 public:
  explicit pool_stream(pool& of, device on = device::cuda(0)) : of_(&of), on_(on) {
    expect_success(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking));
  }
  pool_stream(pool_stream&& other) noexcept
      : of_(other.of_), on_(other.on_), handle_(std::exchange(other.handle_, nullptr)) {}
  pool_stream& operator=(pool_stream&&) = delete;
  ~pool_stream() {
    if (handle_ != nullptr) {
      for (const device_description& about : of_->devices()) {
        (void)of_->retire(about.where, raw());
      }
      expect_success(cudaStreamDestroy(handle_));
    }
  }
  [[nodiscard]] cudaStream_t get() const { return handle_; }
  /// As an application has it, without a number.
  [[nodiscard]] stream_ref raw() const { return cuda::stream(handle_); }
  [[nodiscard]] stream_ref attached() const { return *of_->attach(on_, raw()); }

 private:
  pool* of_;
  device on_;
  cudaStream_t handle_ = nullptr;
};

[[nodiscard]] inline block block_of(const tensor& t) {
  return {t.data(), t.bytes() / sizeof(unsigned) * sizeof(unsigned), 0};
}

/// `later` goes on when `earlier` has come here.
inline void order(cudaStream_t earlier, cudaStream_t later) {
  cudaEvent_t event = nullptr;
  expect_success(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  expect_success(cudaEventRecord(event, earlier));
  expect_success(cudaStreamWaitEvent(later, event, 0));
  expect_success(cudaEventDestroy(event));
}

class CudaPool : public ::testing::Test {
 protected:
  void SetUp() override {
    result<std::unique_ptr<backend>> gpu_memory = try_make_watched();
    if (!gpu_memory && gpu_memory.error().code == errc::backend_unavailable) {
      ASSERT_FALSE(gpu_is_required()) << to_string(gpu_memory.error());
      GTEST_SKIP() << "skipped, no GPU: " << to_string(gpu_memory.error());
    }
    ASSERT_TRUE(gpu_memory.has_value()) << to_string(gpu_memory.error());
    load_kernels();
    make(std::move(*gpu_memory), {});
  }
  void make(std::unique_ptr<backend> gpu_memory, const pool_options& options) {
    p.reset();
    std::vector<std::unique_ptr<backend>> backends;
    backends.push_back(cpu::make_backend());
    backends.push_back(std::move(gpu_memory));
    p = std::make_unique<pool>(std::move(backends), options);
  }
  void TearDown() override {
    end_foreign_captures();
    if (p != nullptr) {
      expect_success(cudaDeviceSynchronize());
      EXPECT_EQ(p->control().verify(), nullptr);
      EXPECT_EQ(p->control().statistics().total.live, 0U);
      EXPECT_EQ(p->control().statistics().misuses, 0U);
      EXPECT_EQ(p->control().trim().reserved_bytes, 0U);
      p.reset();
    }
    if (cudasim_is_present() != 0) {
      EXPECT_EQ(cudasim_untaken_reports(), 0U);
    }
  }

  const device gpu = device::cuda(0);
  std::unique_ptr<pool> p;
};

}  // namespace tidepool::test
