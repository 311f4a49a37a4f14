// SPDX-License-Identifier: Apache-2.0
//
// No backend where there cannot be one: each with its own answer, and nothing left behind.
#include "support.hpp"
#include <tidepool/error.hpp>

#include <cstdlib>
#include <string_view>

namespace tidepool::test {
namespace {

[[nodiscard]] std::string_view set_to(const char* variable) {
  const char* const value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

TEST(Unavailable, AnOldDriverIsAnErrorValue) {
  if (set_to("CUDASIM_DRIVER").empty()) {
    GTEST_SKIP() << "the driver is new enough";
  }
  const status why = cuda::try_make_backend().error();
  EXPECT_EQ(why.code, errc::backend_unavailable);
  EXPECT_EQ(why.native, cudaErrorInsufficientDriver);
  EXPECT_NE(to_string(why).find("too old"), std::string::npos) << to_string(why);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_THROW((void)cuda::make_backend(), error);
}

TEST(Unavailable, NoDeviceIsAnErrorValue) {
  if (set_to("CUDASIM_DEVICES") != "0") {
    GTEST_SKIP() << "there is a device";
  }
  const status why = cuda::try_make_backend().error();
  EXPECT_EQ(why.code, errc::backend_unavailable);
  EXPECT_NE(to_string(why).find("no CUDA device"), std::string::npos) << to_string(why);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(CudaBackend, AnOrdinalBeyondTheLastIsUnknown) {
  const status why = cuda::try_make_backend({.ordinal = 99}).error();
  EXPECT_EQ(why.code, errc::unknown_device);
  EXPECT_EQ(why.where, device::cuda(99));
}

TEST_F(CudaBackend, WithoutPoolsTheNameSaysSo) {
  if (set_to("CUDASIM_WITHOUT") != "pools") {
    GTEST_SKIP() << "there are pools";
  }
  EXPECT_NE(tested->devices().front().name.find("no memory pools"), std::string_view::npos);
  EXPECT_EQ(tested->devices().front().where, device::cuda(0));
  EXPECT_EQ(calls_of("cudaMallocFromPoolAsync"), 0U);
}

TEST(Unavailable, EveryCallOfOpeningFailingOnceIsAnErrorValue) {
  if (cudasim_is_present() == 0 || !cuda::try_make_backend()) {
    GTEST_SKIP() << "cudasim only, with a device";
  }
  for (const char* const call :
       {"cudaGetDeviceCount", "cudaGetDeviceProperties", "cudaStreamCreateWithFlags",
        "cudaMemPoolCreate", "cudaMemPoolSetAttribute"}) {
    cudasim_fail_call(call, 1, cudaErrorUnknown, 0);
    const result<std::unique_ptr<backend>> made = cuda::try_make_backend();
    const bool is_used = set_to("CUDASIM_WITHOUT") != "pools" ||
                         std::string_view(call).find("GetDevice") != std::string_view::npos;
    EXPECT_EQ(made.has_value(), !is_used) << call;
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << call;
    cudasim_fail_no_call();
  }
}

}  // namespace
}  // namespace tidepool::test
