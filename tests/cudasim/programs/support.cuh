// SPDX-License-Identifier: Apache-2.0
//
// What the test programs share: buffers in device memory, streams that end, and the taking of
// reports that a test plants. Works on a real libcudart too, where nothing is reported.
#pragma once

#include <cuda_runtime.h>
#include <cudasim.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

inline void expect_success(cudaError_t error, const char* what) {
  EXPECT_EQ(error, cudaSuccess) << what << ": " << cudaGetErrorName(error);
}
inline void expect_synchronised() {
  expect_success(cudaDeviceSynchronize(), "synchronise");
}

template <class T>
std::vector<T> values_at(const T* device_address, std::size_t n) {
  std::vector<T> values(n);
  expect_success(cudaMemcpy(values.data(), device_address, n * sizeof(T), cudaMemcpyDeviceToHost),
                 "copy to host");
  return values;
}

// Device memory with the values of a vector, or of n elements.
template <class T>
class buffer {
 public:
  explicit buffer(std::size_t n) : size_(n) {
    expect_success(cudaMalloc(&data_, std::max<std::size_t>(1, n * sizeof(T))), "cudaMalloc");
  }
  explicit buffer(const std::vector<T>& values) : buffer(values.size()) { set(values); }
  buffer(buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  buffer& operator=(buffer&&) = delete;
  ~buffer() { expect_success(cudaFree(data_), "cudaFree"); }

  void set(const std::vector<T>& values) {
    expect_success(
        cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
        "copy to device");
  }
  void fill(int byte) { expect_success(cudaMemset(data_, byte, size_ * sizeof(T)), "cudaMemset"); }
  std::vector<T> get() const { return get(size_); }
  std::vector<T> get(std::size_t n) const { return values_at(data_, std::min(n, size_)); }
  T* data() { return data_; }
  std::size_t size() const { return size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};

class scoped_stream {
 public:
  explicit scoped_stream(unsigned flags = cudaStreamNonBlocking) {
    expect_success(cudaStreamCreateWithFlags(&handle_, flags), "cudaStreamCreateWithFlags");
  }
  scoped_stream(const scoped_stream&) = delete;
  scoped_stream& operator=(const scoped_stream&) = delete;
  ~scoped_stream() {
    cudaStreamSynchronize(handle_);
    cudaStreamDestroy(handle_);
  }
  operator cudaStream_t() const { return handle_; }

 private:
  cudaStream_t handle_ = nullptr;
};

class scoped_event {
 public:
  scoped_event() {
    expect_success(cudaEventCreateWithFlags(&handle_, cudaEventDisableTiming), "event");
  }
  scoped_event(const scoped_event&) = delete;
  scoped_event& operator=(const scoped_event&) = delete;
  ~scoped_event() { cudaEventDestroy(handle_); }
  operator cudaEvent_t() const { return handle_; }

 private:
  cudaEvent_t handle_ = nullptr;
};

inline std::string latest_report() {
  char text[4096] = "";
  if (cudasim_is_present()) {
    cudasim_latest_report(text, sizeof text);
  }
  return text;
}

// A program that a test starts runs one test, once, whatever this one was told to do.
inline void forget_how_tests_run() {
  for (const char* const each :
       {"GTEST_REPEAT", "GTEST_SHUFFLE", "GTEST_TOTAL_SHARDS", "GTEST_SHARD_INDEX", "GTEST_FILTER",
        "GTEST_OUTPUT", "GTEST_SHARD_STATUS_FILE"}) {
    unsetenv(each);
  }
}

// In long runs GTEST_REPEAT repeats all of a seeded program, and each time has the next seed.
class next_seed : public ::testing::Environment {
 public:
  void SetUp() override {
    if (cudasim_is_present()) {
      cudasim_set_seed(++seed_);
    }
  }

 private:
  unsigned long long seed_ = 0;
};
inline bool plant_seeds() {
  if (std::getenv("GTEST_REPEAT") == nullptr || std::getenv("CUDASIM_SEED") == nullptr) {
    return false;
  }
  ::testing::AddGlobalTestEnvironment(new next_seed);
  return true;
}
inline const bool has_planted_seeds = plant_seeds();

// Takes the reports of one kind that a test has planted.
inline unsigned long long taken(cudasim_finding kind) {
  return cudasim_is_present() ? cudasim_take_reports(kind) : 0;
}
