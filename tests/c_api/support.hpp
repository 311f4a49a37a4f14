// SPDX-License-Identifier: Apache-2.0
//
// What tests of the C interface share: a pool over host memory that counts its misuses.
#pragma once

#include <tidepool.h>
#include <tidepool/cpu.h>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

/// An options or answer struct with its size set.
template <class T>
[[nodiscard]] T sized() {
  T made{};
  made.size = sizeof(T);
  return made;
}

[[nodiscard]] inline std::string last_error() {
  std::string text(tidepool_last_error(nullptr, 0) + 1, '\0');
  text.resize(tidepool_last_error(text.data(), text.size()));
  return text;
}

class c_api_pool : public testing::Test {
 protected:
  c_api_pool() {
    auto options = sized<tidepool_pool_options>();
    options.on_misuse = remember;
    options.misuse_context = &misuses;
    pool = make(&options);
  }
  ~c_api_pool() override {
    EXPECT_EQ(tidepool_verify(pool), nullptr);
    std::size_t live = 0;
    EXPECT_EQ(tidepool_pool_close(pool, &live), TIDEPOOL_OK);
    EXPECT_EQ(live, 0U) << "the test left tensors";
    tidepool_pool_destroy(pool);
  }

  [[nodiscard]] static tidepool_backend* host_memory() {
    tidepool_backend* backend = nullptr;
    EXPECT_EQ(tidepool_cpu_backend_create(nullptr, &backend), TIDEPOOL_OK);
    return backend;
  }
  [[nodiscard]] static tidepool_pool* make(const tidepool_pool_options* options) {
    tidepool_backend* backend = host_memory();
    tidepool_pool* made = nullptr;
    EXPECT_EQ(tidepool_pool_create(&backend, 1, options, &made), TIDEPOOL_OK) << last_error();
    return made;
  }
  [[nodiscard]] tidepool_tensor allocate(std::size_t bytes,
                                         const tidepool_allocation_options* options = nullptr) {
    tidepool_tensor made{};
    EXPECT_EQ(tidepool_allocate(pool, bytes, cpu, options, &made), TIDEPOOL_OK) << last_error();
    return made;
  }
  [[nodiscard]] tidepool_tensor_info info(tidepool_tensor_id id) {
    auto answer = sized<tidepool_tensor_info>();
    EXPECT_EQ(tidepool_info(pool, id, &answer), TIDEPOOL_OK) << last_error();
    return answer;
  }
  [[nodiscard]] tidepool_statistics statistics() {
    auto answer = sized<tidepool_statistics>();
    EXPECT_EQ(tidepool_statistics_read(pool, tidepool_device_automatic(), &answer), TIDEPOOL_OK);
    return answer;
  }
  void free(tidepool_tensor_id id) { EXPECT_EQ(tidepool_deallocate(pool, id), TIDEPOOL_OK); }

  const tidepool_device cpu = tidepool_device_cpu();
  std::vector<tidepool_misuse_report> misuses;
  tidepool_pool* pool = nullptr;

 private:
  static void remember(const tidepool_misuse_report* report, void* context) {
    static_cast<std::vector<tidepool_misuse_report>*>(context)->push_back(*report);
  }
};
