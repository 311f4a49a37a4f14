// SPDX-License-Identifier: Apache-2.0
//
// How a program of CUDA tests runs while other threads capture: CUDASIM_FOREIGN_CAPTURES is the
// first seed of the simulator's captures and of its schedule, and each repetition (GTEST_REPEAT)
// has the next one. Nothing happens without the variable.
#include "../cudasim/include/cudasim.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace tidepool::test {
namespace {

/// Every test begins with the run's seed, so that a failure comes again when it runs alone.
class seeds : public ::testing::EmptyTestEventListener {
 public:
  void OnTestIterationStart(const ::testing::UnitTest&, int iteration) override {
    const char* const first = std::getenv("CUDASIM_FOREIGN_CAPTURES");
    if (cudasim_is_present() != 0 && first != nullptr) {
      seed_ = std::strtoull(first, nullptr, 10) + static_cast<unsigned long long>(iteration);
    }
  }
  void OnTestIterationEnd(const ::testing::UnitTest&, int) override {
    EXPECT_TRUE(seed_ == 0 || cudasim_foreign_captures() != 0) << "no capture has begun";
  }
  void OnTestStart(const ::testing::TestInfo&) override {
    if (seed_ != 0) {
      cudasim_set_seed(seed_);
      cudasim_set_foreign_captures(seed_);
    }
  }

 private:
  unsigned long long seed_ = 0;
};

[[nodiscard]] bool plant_seeds() {
  ::testing::UnitTest::GetInstance()->listeners().Append(new seeds);  // googletest deletes it
  return true;
}
[[maybe_unused]] const bool has_planted = plant_seeds();

}  // namespace
}  // namespace tidepool::test
