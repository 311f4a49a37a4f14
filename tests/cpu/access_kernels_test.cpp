// SPDX-License-Identifier: Apache-2.0
//
// The access kernels of every instruction set that this machine has.
#include "access_kernels.hpp"

#include "../support/access_kernels_check.hpp"
#include <tidepool/cpu/backend.hpp>

#include <gtest/gtest.h>

namespace tidepool::test {
namespace {

TEST(AccessKernels, AllUsableOnesEqualThePlainLoops) {
  for (const access_kernels* const tested : cpu::usable_access_kernels()) {
    check_access_kernels(*tested);
  }
}

TEST(AccessKernels, TheBackendOffersTheFirst) {
  const auto usable = cpu::usable_access_kernels();
  EXPECT_EQ(cpu::make_backend()->kernels_for_access(), usable.empty() ? nullptr : usable.front());
}

}  // namespace
}  // namespace tidepool::test
