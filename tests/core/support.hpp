// SPDX-License-Identifier: Apache-2.0
//
// What the tests of a pool share: small pools, a log of misuses, comparing statistics.
#pragma once

#include "../support/small_cpu.hpp"
#include <tidepool/control.hpp>
#include <tidepool/pool.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace tidepool::test {

/// A thread that ran `work` and then does nothing, its caches full, until it is destroyed.
class idle_thread {
 public:
  explicit idle_thread(std::function<void()> work)
      : thread_([this, work = std::move(work)] {
          work();
          ready_.count_down();
          end_.wait();
        }) {
    ready_.wait();
  }
  ~idle_thread() {
    end_.count_down();
    thread_.join();
  }
  idle_thread(const idle_thread&) = delete;
  idle_thread& operator=(const idle_thread&) = delete;

 private:
  std::latch ready_{1};
  std::latch end_{1};
  std::thread thread_;
};

/// Keeps every report. Outlives the pools it is given to.
class misuse_log {
 public:
  [[nodiscard]] pool_options options(pool_options rest = {}) {
    rest.on_misuse = note;
    rest.misuse_context = this;
    return rest;
  }
  /// The reports since the last call.
  [[nodiscard]] std::vector<misuse_report> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(seen_, {});
  }
  /// Exactly one report of this kind and id since the last call.
  [[nodiscard]] ::testing::AssertionResult one(misuse_kind kind, tensor_id id) {
    const std::vector<misuse_report> reports = take();
    if (reports.size() != 1) {
      return ::testing::AssertionFailure() << reports.size() << " reports";
    }
    if (reports[0].kind != kind || reports[0].id != id || reports[0].text == nullptr) {
      return ::testing::AssertionFailure() << "kind " << static_cast<int>(reports[0].kind)
                                           << ", id " << std::hex << reports[0].id.value();
    }
    return ::testing::AssertionSuccess();
  }

 private:
  static void note(const misuse_report& report, void* context) {
    auto& self = *static_cast<misuse_log*>(context);
    const std::lock_guard lock(self.mutex_);
    self.seen_.push_back(report);
  }
  std::mutex mutex_;
  std::vector<misuse_report> seen_;  // guarded by mutex_
};

inline void expect_equal(const operation_counts& a, const operation_counts& b) {
  EXPECT_EQ(a.allocations, b.allocations);
  EXPECT_EQ(a.frees, b.frees);
  EXPECT_EQ(a.front_hits, b.front_hits);
  EXPECT_EQ(a.ready_hits, b.ready_hits);
  EXPECT_EQ(a.refills, b.refills);
  EXPECT_EQ(a.requested_bytes, b.requested_bytes);
  EXPECT_EQ(a.live, b.live);
}

/// Everything but misuses and samples.
inline void expect_unchanged(const statistics& a, const statistics& b) {
  expect_equal(a.total, b.total);
  ASSERT_EQ(a.devices.size(), b.devices.size());
  for (std::size_t i = 0; i < a.devices.size(); ++i) {
    expect_equal(a.devices[i].total, b.devices[i].total);
    for (unsigned c = 0; c < size_category_count; ++c) {
      expect_equal(a.devices[i].by_size[c], b.devices[i].by_size[c]);
    }
    EXPECT_EQ(a.devices[i].reserved_bytes, b.devices[i].reserved_bytes);
    EXPECT_EQ(a.devices[i].live_bytes, b.devices[i].live_bytes);
    EXPECT_EQ(a.devices[i].cached_bytes, b.devices[i].cached_bytes);
  }
  EXPECT_EQ(a.threads, b.threads);
  EXPECT_EQ(a.recalls, b.recalls);
  EXPECT_EQ(a.failures, b.failures);
}

/// Not inlined: compilers would warn of the null data that no test here has.
[[gnu::noinline]] inline unsigned char& byte_of(const tensor& t, std::size_t i) {
  return static_cast<unsigned char*>(t.data())[i];
}

inline bool is_aligned(const void* data, std::size_t alignment) {
  return (reinterpret_cast<std::uintptr_t>(data) & (alignment - 1)) == 0;
}

}  // namespace tidepool::test
