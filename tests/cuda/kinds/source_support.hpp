// SPDX-License-Identifier: Apache-2.0
//
// What the tests of slab sources share: a GPU, simulated or real, or the reason to skip; a system
// that refuses calls when told to; what the process has mapped.
#pragma once

#include "../../support/sizes.hpp"
#include "../gpu.hpp"
#include "driver/driver.hpp"
#include "driver/host_system.hpp"
#include "slabs/slab_source.hpp"

#include <cudasim.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace tidepool::cuda::test {

using tidepool::test::kib;
using tidepool::test::mib;

/// The system, but for calls that a test orders to fail.
class faulty_system final : public host_system {
 public:
  /// The nth call from now on (1: the next) answers the error; 0: none does.
  void fail_call(std::uint64_t nth, int error = ENOMEM) {
    made_ = 0;
    nth_ = nth;
    error_ = error;
  }
  /// All calls of a kind answer the error; 0: none does.
  void refuse_all(host_call what, int error) {
    refused_ = what;
    refusal_ = error;
  }
  [[nodiscard]] std::uint64_t made() const { return made_; }

  [[nodiscard]] bool has_node(int node) const noexcept override {
    return node < nodes && (node == 0 || nodes > 1);
  }
  [[nodiscard]] int process() const noexcept override { return process_id; }

  int nodes = 1;
  int process_id = 1;

 protected:
  [[nodiscard]] int refuse(host_call what) noexcept override {
    if (refusal_ != 0 && what == refused_) {
      return refusal_;
    }
    return ++made_ == nth_ ? error_ : 0;
  }

 private:
  std::atomic<std::uint64_t> made_{0};
  std::uint64_t nth_ = 0;
  int error_ = 0;
  host_call refused_ = host_call::map;
  int refusal_ = 0;
};

/// Bytes of address space that the process has mapped.
inline std::size_t mapped_bytes() {
  unsigned long pages = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "re");
  if (file != nullptr) {
    if (std::fscanf(file, "%lu", &pages) != 1) {
      pages = 0;
    }
    std::fclose(file);
  }
  return pages * 4096;
}

/// A device for each test, which is skipped where there is none.
class SourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    result<std::unique_ptr<driver>> opened = driver::open(0);
    if (!opened) {
      ASSERT_FALSE(tidepool::test::gpu_is_required()) << to_string(opened.error());
      GTEST_SKIP() << "skipped, no GPU: " << to_string(opened.error());
    }
    gpu = std::move(*opened);
  }
  void TearDown() override {
    if (cudasim_is_present()) {
      cudasim_fail_no_call();
    }
  }
  /// Ends the test on a real GPU, where nothing fails on order.
  [[nodiscard]] static bool is_simulated() { return cudasim_is_present() != 0; }

  std::unique_ptr<driver> gpu;
};

}  // namespace tidepool::cuda::test
