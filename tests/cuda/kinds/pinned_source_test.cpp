// SPDX-License-Identifier: Apache-2.0
//
// Page-locked memory as slabs, and every call of the system and the driver that may fail.
#include "driver/host.hpp"
#include "slabs/pinned.hpp"
#include "source_support.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <vector>

namespace tidepool::cuda::test {
namespace {

class PinnedSource : public SourceTest {
 protected:
  [[nodiscard]] std::unique_ptr<slab_source> make(device where = device::pinned(device::cuda(0))) {
    made_source made = make_pinned_source(*gpu, where, system);
    EXPECT_TRUE(made) << to_string(made.error());
    return made ? std::move(*made) : nullptr;
  }
  static void release(slab_source& from, const slab& what) {
    const status why = from.release(what);
    EXPECT_TRUE(why.ok()) << to_string(why);
  }

  faulty_system system;
};

std::string text_of(const slab_source& source) {
  return std::string(source.description().name);
}

TEST_F(PinnedSource, DescribesWhatItIs) {
  const auto source = make();
  const device_description& about = source->description();
  EXPECT_EQ(about.where, device::pinned(device::cuda(0)));
  EXPECT_TRUE(about.host_accessible);
  EXPECT_TRUE(about.stream_ordered);
  EXPECT_GT(about.total_bytes, 0U);
  EXPECT_EQ(source->granularity(), system.page_bytes());
  EXPECT_NE(text_of(*source).find("pinned memory beside"), std::string::npos);
}

TEST_F(PinnedSource, SlabsAreExactPresentAndLocked) {
  const auto source = make();
  for (const std::size_t bytes : {4 * kib, 36 * kib, 2 * mib, 3 * mib + 4 * kib, 33 * mib}) {
    const result<slab> made = source->allocate(bytes);
    ASSERT_TRUE(made) << to_string(made.error());
    EXPECT_EQ(made->bytes, bytes);
    EXPECT_EQ(made->address_space_bytes, bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made->data) % (bytes >= 2 * mib ? 2 * mib : 4096),
              0U);
    EXPECT_EQ(made->data[0], std::byte{0});
    EXPECT_EQ(made->data[bytes - 1], std::byte{0});
    std::memset(made->data, 7, bytes);
    cudaPointerAttributes of{};
    ASSERT_EQ(cudaPointerGetAttributes(&of, made->data + bytes - 1), cudaSuccess);
    EXPECT_EQ(of.type, cudaMemoryTypeHost);
    release(*source, *made);
  }
}

TEST_F(PinnedSource, ASlabCostsOneCallOfTheDriverEachWay) {
  const auto source = make();
  const std::uint64_t before = gpu->calls();
  const result<slab> made = source->allocate(64 * kib);
  ASSERT_TRUE(made);
  EXPECT_EQ(gpu->calls(), before + 1);
  release(*source, *made);
  EXPECT_EQ(gpu->calls(), before + 2);
}

TEST_F(PinnedSource, IsBoundToANodeOrSaysThatItIsNot) {
  system.nodes = 2;
  EXPECT_EQ(text_of(*make(device::pinned(std::uint8_t{0}))).find("(not bound)"), std::string::npos);
  system.refuse_all(host_call::bind, EPERM);
  const auto source = make(device::pinned(std::uint8_t{1}));
  EXPECT_EQ(source->description().where, device::pinned(std::uint8_t{1}));
  EXPECT_NE(text_of(*source).find("node 1 (not bound)"), std::string::npos) << text_of(*source);
  const result<slab> made = source->allocate(64 * kib);
  ASSERT_TRUE(made) << "not bound is no error";
  release(*source, *made);
}

TEST_F(PinnedSource, ANodeThatIsNotThereIsAnUnknownDevice) {
  const made_source made = make_pinned_source(*gpu, device::pinned(std::uint8_t{7}), system);
  EXPECT_EQ(made.error().code, errc::unknown_device);
}

TEST_F(PinnedSource, WhatTheMachineDoesNotHaveIsOutOfMemory) {
  const auto source = make();
  for (const std::size_t bytes : {std::size_t{1} << 44, SIZE_MAX / 4096 * 4096}) {
    const result<slab> made = source->allocate(bytes);
    EXPECT_EQ(made.error().code, errc::out_of_memory);
    EXPECT_EQ(made.error().requested, bytes);
  }
}

TEST_F(PinnedSource, OldKernelsAreTouchedInsteadOfAsked) {
  system.refuse_all(host_call::populate, ENOSYS);
  const auto source = make();
  const result<slab> made = source->allocate(40 * mib);
  ASSERT_TRUE(made);
  std::vector<unsigned char> present(40 * mib / 4096);
  ASSERT_EQ(mincore(made->data, made->bytes, present.data()), 0);
  for (const unsigned char page : present) {
    ASSERT_EQ(page & 1, 1);
  }
  release(*source, *made);
}

TEST_F(PinnedSource, WithoutRegisteringTheDriverGivesItsOwn) {
  if (!is_simulated()) {
    GTEST_SKIP() << "a real driver registers";
  }
  cudasim_fail_call("cudaHostRegister", 1, cudaErrorNotSupported, 1);
  const auto source = make();
  EXPECT_NE(text_of(*source).find("cudaHostAlloc"), std::string::npos) << text_of(*source);
  const std::uint64_t calls = cudasim_calls("cudaHostRegister");
  const result<slab> made = source->allocate(3 * mib);
  ASSERT_TRUE(made) << to_string(made.error());
  std::memset(made->data, 1, made->bytes);
  EXPECT_EQ(cudasim_calls("cudaHostRegister"), calls) << "it is not tried again and again";
  cudasim_fail_call("cudaFreeHost", 1, cudaErrorUnknown, 0);
  EXPECT_EQ(source->release(*made).code, errc::driver_error);
  made->data[0] = std::byte{2};  // as it was
  release(*source, *made);
  cudasim_fail_call("cudaHostAlloc", 1, cudaErrorMemoryAllocation, 0);
  EXPECT_EQ(source->allocate(mib).error().code, errc::out_of_memory);
}

TEST_F(PinnedSource, AForkedChildReleasesNothing) {
  const auto source = make();
  const result<slab> made = source->allocate(64 * kib);
  ASSERT_TRUE(made);
  const std::uint64_t calls = gpu->calls();
  const std::uint64_t asked = system.calls();
  const int parent = system.process_id;
  system.process_id = parent + 1;
  EXPECT_TRUE(source->release(*made).ok());
  EXPECT_EQ(gpu->calls(), calls);
  EXPECT_EQ(system.calls(), asked) << "other memory may lie there";
  system.process_id = parent;
  made->data[0] = std::byte{1};
  release(*source, *made);
}

TEST_F(PinnedSource, ARealChildHasNoneOfTheMemory) {
  const auto source = make();
  const result<slab> made = source->allocate(3 * mib);
  ASSERT_TRUE(made);
  const pid_t child = fork();
  if (child == 0) {
    _exit(system.protection_of(made->data, made->bytes).is_mapped ? 1 : 0);
  }
  int how = -1;
  ASSERT_EQ(waitpid(child, &how, 0), child);
  EXPECT_TRUE(WIFEXITED(how) && WEXITSTATUS(how) == 0);
  made->data[0] = std::byte{1};
  release(*source, *made);
}

// Each refusal ends in an error that leaves nothing, or in memory that is whole.
TEST_F(PinnedSource, EverySystemCallFailsOnce) {
  const auto source = make();
  const result<slab> warm = source->allocate(8 * mib);
  release(*source, *warm);
  const std::size_t before = mapped_bytes();
  for (std::uint64_t nth = 1;; ++nth) {
    system.fail_call(nth);
    const result<slab> made = source->allocate(8 * mib);
    if (made) {
      std::memset(made->data, 1, made->bytes);
      EXPECT_TRUE(source->release(*made).ok()) << nth;
    } else {
      EXPECT_EQ(made.error().code, errc::out_of_memory) << nth;
      EXPECT_EQ(made.error().native, ENOMEM) << nth;
    }
    const bool was_last = system.made() < nth;
    system.fail_call(0);
    const result<slab> after = source->allocate(8 * mib);  // clears what was left
    ASSERT_TRUE(after) << nth;
    release(*source, *after);
    EXPECT_LT(mapped_bytes(), before + mib) << "after call " << nth;
    if (was_last) {
      EXPECT_GE(nth, 5U);
      break;
    }
  }
}

TEST_F(PinnedSource, EveryDriverCallFailsOnce) {
  if (!is_simulated()) {
    GTEST_SKIP() << "a real driver fails on no order";
  }
  const std::size_t before = mapped_bytes();
  for (const char* const call : {"cudaHostRegister", "cudaHostUnregister", "cudaDeviceGetAttribute",
                                 "cudaDeviceGetPCIBusId"}) {
    for (std::uint64_t nth = 1; nth != 5; ++nth) {
      cudasim_fail_call(call, nth, cudaErrorUnknown, 0);
      const auto source = make();
      for (int i = 0; i != 2; ++i) {
        const result<slab> made = source->allocate(8 * mib);
        if (!made) {
          EXPECT_EQ(made.error().code, errc::driver_error);
          EXPECT_EQ(made.error().where, source->description().where);
          continue;
        }
        std::memset(made->data, 1, made->bytes);
        if (!source->release(*made).ok()) {
          std::memset(made->data, 2, made->bytes);
          release(*source, *made);
        }
      }
      cudasim_fail_no_call();
    }
  }
  EXPECT_LT(mapped_bytes(), before + 4 * mib);
  cudasim_report_leaks();
  EXPECT_EQ(cudasim_take_reports(CUDASIM_LEAK), 0U);
}

TEST_F(PinnedSource, ALostDeviceGivesHostMemoryBack) {
  if (!is_simulated()) {
    GTEST_SKIP() << "a real device is not lost on order";
  }
  const auto source = make();
  const result<slab> made = source->allocate(8 * mib);
  ASSERT_TRUE(made);
  const std::size_t before = mapped_bytes();
  cudasim_fail_call("cudaHostUnregister", 1, cudaErrorIllegalAddress, 0);
  EXPECT_TRUE(source->release(*made).ok());
  EXPECT_LE(mapped_bytes(), before - 8 * mib);
  EXPECT_EQ(source->allocate(4 * kib).error().code, errc::device_lost);
  // The driver's side of what a real loss would have ended.
  EXPECT_EQ(cudaHostUnregister(made->data), cudaSuccess);
}

TEST_F(PinnedSource, ServesSeveralThreads) {
  const auto source = make();
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 1; i != 12; ++i) {
        const result<slab> made = source->allocate((t + i) * 256 * kib);
        ASSERT_TRUE(made);
        std::memset(made->data, static_cast<int>(t), made->bytes);
        EXPECT_EQ(made->data[made->bytes - 1], static_cast<std::byte>(t));
        release(*source, *made);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

}  // namespace
}  // namespace tidepool::cuda::test
