// SPDX-License-Identifier: Apache-2.0
//
// Managed memory as slabs, its prefetches and advice. Runs with and without managed memory, and
// without access beside the GPU's (CUDASIM_WITHOUT), and tests what there is.
#include "source_support.hpp"

#include <cstring>
#include <string>

namespace tidepool::cuda::test {
namespace {

class ManagedSource : public SourceTest {
 protected:
  void SetUp() override {
    SourceTest::SetUp();
    if (gpu == nullptr) {
      return;
    }
    made_source made = make_managed_source(*gpu);
    if (gpu->attribute(cudaDevAttrManagedMemory) == 0) {
      EXPECT_EQ(made.error().code, errc::unsupported);
      EXPECT_EQ(made.error().where, where);
      GTEST_SKIP() << to_string(made.error());
    }
    ASSERT_TRUE(made) << to_string(made.error());
    source = std::move(*made);
    concurrent = gpu->attribute(cudaDevAttrConcurrentManagedAccess) != 0;
    const result<slab> first = source->allocate(bytes);
    ASSERT_TRUE(first) << to_string(first.error());
    held = *first;
  }
  void TearDown() override {
    SourceTest::TearDown();
    if (held.data != nullptr) {
      EXPECT_TRUE(source->release(held).ok());
    }
  }
  [[nodiscard]] std::span<const std::byte> range() const { return {held.data, held.bytes}; }
  [[nodiscard]] int attribute(cudaMemRangeAttribute which) const {
    int value = -9;
    EXPECT_EQ(cudaMemRangeGetAttribute(&value, sizeof value, which, held.data, held.bytes),
              cudaSuccess);
    return value;
  }

  static constexpr std::size_t bytes = 3 * mib + 64 * kib;
  const device where = device::managed(device::cuda(0));
  std::unique_ptr<slab_source> source;
  slab held;
  bool concurrent = false;
};

TEST_F(ManagedSource, DescribesWhatItIs) {
  const device_description& about = source->description();
  EXPECT_EQ(about.where, where);
  EXPECT_EQ(about.host_accessible, concurrent);
  EXPECT_EQ(about.can_migrate, concurrent);
  EXPECT_TRUE(about.stream_ordered);
  EXPECT_EQ(std::string(about.name).find("only while the GPU is idle") == std::string::npos,
            concurrent);
}

TEST_F(ManagedSource, BothSidesUseASlab) {
  EXPECT_EQ(held.bytes, bytes);
  cudaPointerAttributes of{};
  ASSERT_EQ(cudaPointerGetAttributes(&of, held.data), cudaSuccess);
  EXPECT_EQ(of.type, cudaMemoryTypeManaged);
  ASSERT_TRUE(gpu->fill(held.data, 0x5a, held.bytes, cudaStreamLegacy).ok());
  ASSERT_TRUE(gpu->synchronise(cudaStreamLegacy).ok());
  EXPECT_EQ(held.data[held.bytes - 1], std::byte{0x5a});
  std::memset(held.data, 1, held.bytes);
}

TEST_F(ManagedSource, PrefetchesToWhereItIsTold) {
  const device to = device::cuda(0);
  if (!concurrent) {
    EXPECT_EQ(source->prefetch(range(), to, cudaStreamLegacy).code, errc::unsupported);
    return;
  }
  EXPECT_TRUE(source->prefetch(range(), to, cudaStreamLegacy).ok());
  EXPECT_EQ(attribute(cudaMemRangeAttributeLastPrefetchLocation), 0);
  EXPECT_TRUE(source->prefetch(range(), device::cpu(), cudaStreamLegacy).ok());
  EXPECT_EQ(attribute(cudaMemRangeAttributeLastPrefetchLocation), cudaCpuDeviceId);
  EXPECT_TRUE(source->prefetch(range(), device::cpu(0), cudaStreamLegacy).ok());
  ASSERT_TRUE(gpu->synchronise(cudaStreamLegacy).ok());
}

TEST_F(ManagedSource, AdviceHasItsInverse) {
  if (!concurrent) {
    EXPECT_EQ(source->advise(range(), {}).code, errc::unsupported);
    return;
  }
  const advice_request read_mostly{.what = memory_advice::read_mostly, .of = device::cuda(0)};
  EXPECT_TRUE(source->advise(range(), read_mostly).ok());
  EXPECT_EQ(attribute(cudaMemRangeAttributeReadMostly), 1);
  advice_request inverse = read_mostly;
  inverse.take_back = true;
  EXPECT_TRUE(source->advise(range(), inverse).ok());
  EXPECT_EQ(attribute(cudaMemRangeAttributeReadMostly), 0);
  advice_request preferred{.what = memory_advice::preferred_location, .of = device::cuda(0)};
  EXPECT_TRUE(source->advise(range(), preferred).ok());
  EXPECT_EQ(attribute(cudaMemRangeAttributePreferredLocation), 0);
  preferred.take_back = true;
  EXPECT_TRUE(source->advise(range(), preferred).ok());
  EXPECT_EQ(attribute(cudaMemRangeAttributePreferredLocation), cudaInvalidDeviceId);
  advice_request accessed{.what = memory_advice::accessed_by, .of = device::cuda(0)};
  EXPECT_TRUE(source->advise(range(), accessed).ok());
  accessed.take_back = true;
  EXPECT_TRUE(source->advise(range(), accessed).ok());
}

TEST_F(ManagedSource, PlacesThatAreNoneAreInvalid) {
  if (!concurrent) {
    GTEST_SKIP() << "this device moves nothing";
  }
  for (const device to : {device::user(1), device::pinned(device::cuda(0)), where}) {
    const status why = source->prefetch(range(), to, cudaStreamLegacy);
    EXPECT_EQ(why.code, errc::invalid_argument);
    EXPECT_EQ(source->advise(range(), {.of = to}).code, errc::invalid_argument);
  }
  EXPECT_EQ(source->prefetch(range(), device::cuda(63), cudaStreamLegacy).code, errc::driver_error);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "the error was ours to report";
}

TEST_F(ManagedSource, EveryDriverCallFailsOnce) {
  if (!is_simulated()) {
    GTEST_SKIP() << "a real driver fails on no order";
  }
  cudasim_fail_call("cudaMallocManaged", 1, cudaErrorMemoryAllocation, 0);
  const status why = source->allocate(2 * mib).error();
  EXPECT_EQ(why.code, errc::out_of_memory);
  EXPECT_EQ(why.where, where);
  EXPECT_EQ(why.requested, 2 * mib);
  cudasim_fail_call("cudaFree", 1, cudaErrorUnknown, 0);
  EXPECT_EQ(source->release(held).code, errc::driver_error);
  std::memset(held.data, 1, held.bytes);  // as it was
  if (concurrent) {
    cudasim_fail_call("cudaMemPrefetchAsync", 1, cudaErrorUnknown, 0);
    EXPECT_EQ(source->prefetch(range(), device::cpu(), cudaStreamLegacy).code, errc::driver_error);
    cudasim_fail_call("cudaMemAdvise", 1, cudaErrorUnknown, 0);
    EXPECT_EQ(source->advise(range(), {}).code, errc::driver_error);
  }
}

}  // namespace
}  // namespace tidepool::cuda::test
