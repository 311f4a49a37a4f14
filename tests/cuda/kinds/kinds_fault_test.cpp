// SPDX-License-Identifier: Apache-2.0
//
// Every driver call that the kinds of memory make fails once, at every position of a small
// scenario: the backend answers errors, and in the end nothing is lost.
#include "../support.hpp"

#include <array>
#include <cstring>

namespace tidepool::test {
namespace {

struct failing_call {
  const char* name;
  int error;
};
constexpr std::array failing_calls = {
    failing_call{"cudaHostRegister", cudaErrorUnknown},
    failing_call{"cudaHostUnregister", cudaErrorUnknown},
    failing_call{"cudaMallocManaged", cudaErrorMemoryAllocation},
    failing_call{"cudaFree", cudaErrorUnknown},
    failing_call{"cudaMalloc", cudaErrorMemoryAllocation},
    failing_call{"cuMemAddressReserve", cudaErrorMemoryAllocation},
    failing_call{"cuMemCreate", cudaErrorMemoryAllocation},
    failing_call{"cuMemMap", cudaErrorUnknown},
    failing_call{"cuMemSetAccess", cudaErrorUnknown},
    failing_call{"cuMemRelease", cudaErrorUnknown},
    failing_call{"cuMemUnmap", cudaErrorUnknown},
    failing_call{"cuMemAddressFree", cudaErrorUnknown},
    failing_call{"cudaEventCreateWithFlags", cudaErrorUnknown},
    failing_call{"cudaEventRecord", cudaErrorUnknown},
    failing_call{"cudaEventQuery", cudaErrorUnknown},
    failing_call{"cudaEventSynchronize", cudaErrorUnknown},
    failing_call{"cudaStreamWaitEvent", cudaErrorUnknown},
    failing_call{"cudaStreamIsCapturing", cudaErrorUnknown},
    failing_call{"cudaStreamGetId", cudaErrorUnknown},
};
constexpr std::uint64_t positions = 4;

/// Blocks of all lengths on two streams, a hand-over, growth in place, a trim.
void work_on(backend& of, device where, bool extends) {
  const test_stream a(of, 1);
  const test_stream b(of, 2);
  std::vector<block> held;
  const auto ask = [&](std::size_t bytes, const test_stream& s) {
    return block_request{.where = where, .bytes = bytes, .alignment = 256, .stream = s.ref()};
  };
  for (int round = 0; round != 2; ++round) {
    for (const std::size_t bytes : {4 * kib, 3 * mib}) {
      for (const test_stream* const s : {&a, &b}) {
        block one;
        if (bytes <= mib) {
          if (of.refill(ask(bytes, *s), {&one, 1}).count == 0) {
            continue;
          }
        } else if (const result<block> large = of.allocate_large(ask(bytes, *s)); large) {
          one = *large;
          if (const auto longer = of.extend(where, one, one.bytes + 2 * mib); extends && longer) {
            one.bytes = *longer;
          }
        } else {
          continue;
        }
        fill(one, 7, s->get());
        of.take_back(where, {&one, 1}, s->ref());
      }
    }
    (void)of.trim(where, 0);
  }
}

TEST_F(CudaBackend, EveryDriverCallOfEachKindFailsOnce) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "a real driver fails on no order";
  }
  for (const failing_call& call : failing_calls) {
    for (std::uint64_t nth = 1; nth <= positions; ++nth) {
      for (const device_description& d : tested->devices()) {
        SCOPED_TRACE(std::string(call.name) + " " + std::to_string(nth) + " on " +
                     std::string(d.name));
        cudasim_fail_call(call.name, nth, call.error, 0);
        work_on(*tested, d.where, d.can_extend);
        cudasim_fail_no_call();
        EXPECT_EQ(tested->verify(), nullptr);
        expect_success(cudaDeviceSynchronize());
        (void)tested->trim(d.where, 0);
        EXPECT_EQ(tested->memory(d.where).reserved_bytes, 0U);
        EXPECT_EQ(host.claimed.load(), 0U);
        EXPECT_EQ(cudaGetLastError(), cudaSuccess);
        if (HasFailure()) {
          return;
        }
      }
    }
  }
  tested.reset();
  cudasim_report_leaks();
  EXPECT_EQ(cudasim_take_reports(CUDASIM_LEAK), 0U);
}

TEST_F(CudaBackend, EveryCallOfMakingAllKindsFailsOnce) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "a real driver fails on no order";
  }
  tested.reset();
  constexpr std::array calls = {"cudaDeviceGetAttribute",
                                "cudaHostRegister",
                                "cudaHostUnregister",
                                "cudaMemGetInfo",
                                "cudaGetDriverEntryPointByVersion",
                                "cuDeviceGetAttribute"};
  for (const char* const call : calls) {
    for (std::uint64_t nth = 1; nth <= positions; ++nth) {
      cudasim_fail_call(call, nth, cudaErrorUnknown, 0);
      const result<std::unique_ptr<backend>> made = cuda::try_make_backend();
      if (!made) {
        EXPECT_EQ(made.error().code, errc::driver_error) << call << " " << nth;
      }
      cudasim_fail_no_call();
    }
  }
  cudasim_report_leaks();
  EXPECT_EQ(cudasim_take_reports(CUDASIM_LEAK), 0U);
}

}  // namespace
}  // namespace tidepool::test
