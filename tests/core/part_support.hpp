// SPDX-License-Identifier: Apache-2.0
//
// The lower parts of a pool_core, put together without one, for tests of the upper parts: a device
// of a stream-ordered heap backend, and room for 256 slots.
#pragma once

#include "../support/heap_backend.hpp"
#include "pool/block_stock.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

namespace tidepool::detail {

class PartTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::unique_ptr<backend>> one;
    one.push_back(std::make_unique<test::heap_backend>(log, device::cuda(0), 64, true));
    ASSERT_TRUE(all.add(std::move(one), {}).ok());
    all.attach_backends();
    ASSERT_TRUE(known.slots.open(256, 7, 1));
  }

  test::heap_log log;
  operation_count operations;
  lanes all{4};
  incidents some{[](const misuse_report&, void*) {}, nullptr};
  directory known{all};
  block_stock stock{{operations, all, some, known}, std::size_t{64} << 20};
};

}  // namespace tidepool::detail
