// SPDX-License-Identifier: Apache-2.0
//
// Slabs that grow in place, and every call of the driver that may fail on the way.
#include "source_support.hpp"

#include <cuda.h>

#include <array>
#include <string>
#include <vector>

namespace tidepool::cuda::test {
namespace {

class GrowableSource : public SourceTest {
 protected:
  void SetUp() override {
    SourceTest::SetUp();
    if (gpu == nullptr) {
      return;
    }
    made_source made = make_growable_source(*gpu);
    if (!made) {
      EXPECT_EQ(made.error().code, errc::unsupported);
      EXPECT_EQ(made.error().where, device::cuda(0).with(memory_kind::growable));
      GTEST_SKIP() << to_string(made.error());
    }
    source = std::move(*made);
    step = source->granularity();
  }
  void expect_filled(const slab& of, std::uint8_t value) {
    ASSERT_TRUE(gpu->fill(of.data, value, of.bytes, cudaStreamLegacy).ok());
    expect_contents(of.data, of.bytes, value);
  }
  void expect_contents(const std::byte* data, std::size_t bytes, std::uint8_t value) {
    std::vector<std::uint8_t> seen(bytes);
    ASSERT_TRUE(gpu->copy(seen.data(), data, bytes, cudaStreamLegacy).ok());
    ASSERT_TRUE(gpu->synchronise(cudaStreamLegacy).ok());
    EXPECT_EQ(seen.front(), value);
    EXPECT_EQ(seen.back(), value);
  }
  [[nodiscard]] std::size_t device_bytes() {
    const result<physical_memory> now = gpu->memory();
    EXPECT_TRUE(now);
    return now->total_bytes - now->free_bytes;
  }
  /// Other processes take and give back memory of a real GPU meanwhile.
  void expect_device_bytes(std::size_t expected) {
    if (cudasim_is_present() != 0) {
      EXPECT_EQ(device_bytes(), expected);
    }
  }
  /// Makes `held` longer, or leaves it as it is.
  [[nodiscard]] status extend(slab& held, std::size_t bytes) {
    const result<slab> longer = source->extend(held, bytes);
    held = longer ? *longer : held;
    return longer.error();
  }
  void release(const slab& what) {
    const status why = source->release(what);
    EXPECT_TRUE(why.ok()) << to_string(why);
  }

  std::unique_ptr<slab_source> source;
  std::size_t step = 0;
};

constexpr std::array virtual_calls = {"cuMemAddressReserve", "cuMemCreate",  "cuMemMap",
                                      "cuMemSetAccess",      "cuMemRelease", "cuMemUnmap",
                                      "cuMemAddressFree"};

TEST_F(GrowableSource, DescribesWhatItIs) {
  const device_description& about = source->description();
  EXPECT_EQ(about.where, device::cuda(0).with(memory_kind::growable));
  EXPECT_TRUE(about.can_extend);
  EXPECT_FALSE(about.host_accessible);
  EXPECT_EQ(about.total_bytes, gpu->total_bytes());
  EXPECT_GE(source->smallest_slab(), step);
}

TEST_F(GrowableSource, ASlabGrowsInPlaceAndKeepsItsContents) {
  const std::size_t before = device_bytes();
  result<slab> made = source->allocate(step);
  ASSERT_TRUE(made) << to_string(made.error());
  slab held = *made;
  EXPECT_EQ(held.bytes, step);
  EXPECT_EQ(held.address_space_bytes, 8 * step);
  expect_filled(held, 0x11);
  std::byte* const data = held.data;
  ASSERT_TRUE(extend(held, 3 * step).ok());
  ASSERT_TRUE(extend(held, 8 * step).ok());
  EXPECT_EQ(held.data, data);
  EXPECT_EQ(held.bytes, 8 * step);
  expect_device_bytes(before + 8 * step);
  expect_contents(data, step, 0x11);
  expect_filled(held, 0x22);
  EXPECT_EQ(extend(held, 9 * step).code, errc::out_of_memory);
  EXPECT_EQ(held.bytes, 8 * step);
  release(held);
  expect_device_bytes(before);
}

TEST_F(GrowableSource, RefusedAddressesAreAskedForInHalves) {
  if (!is_simulated()) {
    GTEST_SKIP() << "a real driver refuses on no order";
  }
  cudasim_fail_call("cuMemAddressReserve", 1, CUDA_ERROR_OUT_OF_MEMORY, 0);
  result<slab> made = source->allocate(2 * step);
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_EQ(made->address_space_bytes, 8 * step);
  release(*made);
  const std::uint64_t created = cudasim_calls("cuMemCreate");
  cudasim_fail_call("cuMemAddressReserve", 1, CUDA_ERROR_OUT_OF_MEMORY, 1);
  EXPECT_EQ(source->allocate(2 * step).error().code, errc::out_of_memory);
  EXPECT_EQ(cudasim_calls("cuMemCreate"), created);
}

TEST_F(GrowableSource, ReservesNoMoreThanTheGpuHas) {
  const std::size_t half = gpu->total_bytes() / 2 / step * step;
  const result<slab> made = source->allocate(half);
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_LE(made->address_space_bytes, gpu->total_bytes());
  release(*made);
  EXPECT_EQ(source->allocate(4 * half).error().code, errc::out_of_memory);
}

// An error that leaves nothing, or memory that is whole; in the end nothing is left.
TEST_F(GrowableSource, EveryDriverCallFailsOnce) {
  if (!is_simulated()) {
    GTEST_SKIP() << "a real driver fails on no order";
  }
  const std::size_t before = device_bytes();
  for (const char* const call : virtual_calls) {
    for (std::uint64_t nth = 1; nth != 4; ++nth) {
      cudasim_fail_call(call, nth, CUDA_ERROR_UNKNOWN, 0);
      result<slab> made = source->allocate(2 * step);
      if (!made) {
        EXPECT_EQ(made.error().code, errc::driver_error) << call;
        EXPECT_EQ(made.error().where, source->description().where);
        made = source->allocate(2 * step);
      }
      ASSERT_TRUE(made) << call << " " << nth;
      slab held = *made;
      expect_filled(held, 0x33);
      for (const std::size_t length : {3 * step, 4 * step}) {
        if (!extend(held, length).ok()) {
          EXPECT_LT(held.bytes, length);
          expect_filled(held, 0x44);
          ASSERT_TRUE(extend(held, length).ok()) << call << " " << nth;
        }
        EXPECT_EQ(held.bytes, length);
        expect_filled(held, 0x55);
      }
      if (!source->release(held).ok()) {
        expect_filled(held, 0x66);  // as it was
        release(held);
      }
      cudasim_fail_no_call();
      const result<slab> last = source->allocate(step);  // clears what was left
      ASSERT_TRUE(last);
      release(*last);
      SCOPED_TRACE(std::string(call) + " " + std::to_string(nth));
      expect_device_bytes(before);
    }
  }
  source.reset();
  cudasim_report_leaks();
  EXPECT_EQ(cudasim_take_reports(CUDASIM_LEAK), 0U);
}

TEST_F(GrowableSource, ADriverWithoutTheCallsIsUnsupported) {
  if (!is_simulated()) {
    GTEST_SKIP() << "a real driver has them";
  }
  for (std::uint64_t nth = 1; nth != 11; ++nth) {
    // Builds for CUDA 13 call the one, those for CUDA 12 the other.
    for (const char* const call : {"cudaGetDriverEntryPointByVersion", "cudaGetDriverEntryPoint"}) {
      cudasim_fail_call(call, nth, cudaErrorSymbolNotFound, 0);
    }
    EXPECT_EQ(make_growable_source(*gpu).error().code, errc::unsupported) << nth;
    cudasim_fail_no_call();
  }
  for (const char* const call :
       {"cuDeviceGet", "cuDeviceGetAttribute", "cuMemGetAllocationGranularity"}) {
    cudasim_fail_call(call, 1, CUDA_ERROR_UNKNOWN, 0);
    EXPECT_EQ(make_growable_source(*gpu).error().code, errc::unsupported) << call;
  }
}

}  // namespace
}  // namespace tidepool::cuda::test
