// SPDX-License-Identifier: Apache-2.0
//
// What a program of CUDA tests says first when it runs on a real runtime: the versions of driver
// and runtime, and how many GPUs they see. A run that has to have a GPU and has none fails here. On
// cudasim nothing of this happens, as tests count the calls that are made and order some to fail.
#include "../cudasim/include/cudasim.h"
#include "gpu.hpp"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace tidepool::test {
namespace {

/// "13.0" of 13000.
[[nodiscard]] std::string version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

class gpu_report : public ::testing::Environment {
 public:
  void SetUp() override {
    if (cudasim_is_present() != 0) {
      return;
    }
    int driver = 0;
    int runtime = 0;
    int gpus = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    const cudaError_t found = cudaGetDeviceCount(&gpus);
    (void)cudaGetLastError();
    const std::string text = "CUDA driver " + (driver == 0 ? "none" : version(driver)) +
                             ", runtime " + version(runtime) + ", " + std::to_string(gpus) +
                             " GPUs (" + cudaGetErrorName(found) + ")";
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
    ASSERT_TRUE(gpus > 0 || !gpu_is_required())
        << "TIDEPOOL_REQUIRE_GPU is set, and there is no GPU: " << text;
  }
};

const ::testing::Environment* const reported =
    ::testing::AddGlobalTestEnvironment(new gpu_report);  // googletest deletes it

}  // namespace
}  // namespace tidepool::test
