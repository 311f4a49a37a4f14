// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite of backends: what every backend has to do, by public headers only. A new
// backend adds one file that says how it is made (see heap_test.cpp):
//   INSTANTIATE_TEST_SUITE_P(mine, BackendConformance, ::testing::Values(backend_case{...}),
//                            name_of_case);
// What a device cannot do (its description says so) is skipped. Data are touched only where the
// host may.
#pragma once

#include <tidepool/backend.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>

namespace tidepool::test {

struct backend_case {
  std::string name;  // letters and digits
  std::function<std::unique_ptr<backend>()> make;
  std::size_t largest = std::size_t{48} << 20;  ///< bytes to try in one block
};

// GoogleTest prints the bytes of what has no operator.
inline std::ostream& operator<<(std::ostream& out, const backend_case& what) {
  return out << what.name;
}

inline std::string name_of_case(const ::testing::TestParamInfo<backend_case>& info) {
  return info.param.name;
}

/// Keeps a budget, as a pool does.
class budget final : public backend_host {
 public:
  [[nodiscard]] bool claim(device /*where*/, std::size_t bytes) noexcept override {
    std::size_t now = claimed.load();
    do {
      if (bytes > limit.load() || now > limit.load() - bytes) {
        return false;
      }
    } while (!claimed.compare_exchange_weak(now, now + bytes));
    return true;
  }
  void unclaim(device /*where*/, std::size_t bytes) noexcept override { claimed.fetch_sub(bytes); }

  std::atomic<std::size_t> claimed{0};
  std::atomic<std::size_t> limit{SIZE_MAX};
};

class BackendConformance : public ::testing::TestWithParam<backend_case> {
 protected:
  void SetUp() override {
    tested = GetParam().make();
    ASSERT_NE(tested, nullptr);
    ASSERT_FALSE(tested->devices().empty());
    tested->attach(host);
    about = tested->devices().front();
  }
  void TearDown() override {
    if (tested != nullptr) {
      EXPECT_EQ(tested->verify(), nullptr);
      EXPECT_EQ(tested->memory(about.where).reserved_bytes, host.claimed.load());
    }
  }

  [[nodiscard]] block_request ask(std::size_t bytes, std::size_t alignment = 0) const {
    return {.where = about.where,
            .bytes = bytes,
            .alignment = alignment == 0 ? about.alignment : alignment};
  }
  [[nodiscard]] memory_info memory() const { return tested->memory(about.where); }
  void give_back(std::span<const block> blocks) { tested->take_back(about.where, blocks, {}); }

  budget host;
  std::unique_ptr<backend> tested;
  device_description about;
};

}  // namespace tidepool::test
