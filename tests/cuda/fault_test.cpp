// SPDX-License-Identifier: Apache-2.0
//
// Every driver call failing once at every position, and calls that always fail: an error value or a
// success, nothing lost, nothing used before its time. A lost device. On cudasim only.
#include "support.hpp"

#include <array>
#include <string>

namespace tidepool::test {
namespace {

class CudaFaults : public CudaBackend {
 protected:
  void SetUp() override {
    if (cudasim_is_present() == 0) {
      GTEST_SKIP() << "cudasim only";
    }
    CudaBackend::SetUp();
  }
  void TearDown() override {
    if (cudasim_is_present() != 0) {
      cudasim_fail_no_call();
    }
    CudaBackend::TearDown();
  }

  /// Takes a block on a stream if it can, writes it and gives it back.
  void use(std::size_t bytes, const test_stream& on, const test_stream* freed_on = nullptr) {
    const result<block> made = tested->allocate_large(ask(bytes, on.ref()));
    if (!made) {
      EXPECT_NE(made.error().code, errc::ok);
      return;
    }
    fill(*made, 1, on.get());
    give_back_to(*made, on, freed_on);
  }
  void use_small(std::size_t bytes, const test_stream& on, const test_stream* freed_on) {
    std::array<block, 12> blocks = {};
    const backend::refill_result made = tested->refill(ask(bytes, on.ref()), blocks);
    EXPECT_TRUE(made.count == blocks.size() || !made.why.ok());
    for (std::size_t i = 0; i != made.count; ++i) {
      fill(blocks[i], 1, on.get());
      give_back_to(blocks[i], on, i % 2 == 0 ? freed_on : nullptr);
    }
  }
  /// On another stream only when that was made to wait.
  void give_back_to(const block& what, const test_stream& on, const test_stream* other) {
    if (other != nullptr && tested->order(where, on.ref(), other->ref()).ok()) {
      fill(what, 2, other->get());
      give_back(what, other->ref());
      return;
    }
    give_back(what, on.ref());
  }

  /// Growth, reuse, hand-over, debts, capture, retire, trim: all that calls the driver.
  void work() {
    host.limit = 12 * mib;
    const test_stream a(*tested, next_number_++);
    const test_stream b(*tested, next_number_++);
    const test_stream unnumbered(*tested);
    use(6 * mib, a);
    use(6 * mib, b);
    use(9 * mib, b);
    use(2 * mib, a, &b);
    use_small(16 * kib, a, &b);
    use_small(16 * kib, b, &a);
    use(3 * mib, unnumbered);
    {
      const test_stream gone(*tested, next_number_++);
      use(6 * mib, gone);
      use_small(1 * kib, gone, nullptr);
    }
    use(11 * mib, a);
    std::array<stream_ref, 2> both = {a.ref(), b.ref()};
    if (const result<block> made = tested->allocate_large(ask(4 * mib, a.ref()))) {
      fill(*made, 1, a.get());
      tested->take_back_after(where, *made, both);
    }
    use(11 * mib, b);
    (void)tested->decay(where);
    (void)tested->trim(where, 4 * mib);
    use(5 * mib, b);
    EXPECT_EQ(tested->verify(), nullptr);
    EXPECT_EQ(memory().free_bytes, memory().reserved_bytes);
    host.limit = SIZE_MAX;
  }

  std::uint32_t next_number_ = 1;
};

constexpr const char* calls[] = {"cudaGetDevice",
                                 "cudaStreamGetId",
                                 "cudaStreamIsCapturing",
                                 "cudaEventQuery",
                                 "cudaStreamQuery",
                                 "cudaEventCreateWithFlags",
                                 "cudaEventRecord",
                                 "cudaStreamWaitEvent",
                                 "cudaEventSynchronize",
                                 "cudaMalloc",
                                 "cudaFree",
                                 "cudaMallocFromPoolAsync",
                                 "cudaFreeAsync",
                                 "cudaMemPoolTrimTo",
                                 "cudaThreadExchangeStreamCaptureMode",
                                 "cudaStreamSynchronize",
                                 "cudaDeviceSynchronize"};

TEST_F(CudaFaults, EveryCallFailingOnceLosesNothing) {
  for (const char* const call : calls) {
    SCOPED_TRACE(call);
    const std::uint64_t before = calls_of(call);
    work();
    const std::uint64_t count = calls_of(call) - before;
    for (std::uint64_t n = 1; n <= count + 1 && !HasFailure(); ++n) {
      SCOPED_TRACE(n);
      const int error = std::string(call).find("Malloc") != std::string::npos
                            ? cudaErrorMemoryAllocation
                            : cudaErrorUnknown;
      cudasim_fail_call(call, n, error, 0);
      work();
      cudasim_fail_no_call();
      (void)tested->trim(where, 0);
      EXPECT_EQ(memory().reserved_bytes, 0U);
      EXPECT_EQ(host.claimed.load(), 0U);
      EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    }
  }
}

TEST_F(CudaFaults, CallsThatAlwaysFailLoseNothing) {
  for (const char* const call : calls) {
    SCOPED_TRACE(call);
    cudasim_fail_call(call, 1, cudaErrorUnknown, 1);
    work();
    cudasim_fail_no_call();
    (void)tested->trim(where, 0);
    EXPECT_EQ(memory().reserved_bytes, 0U);
    EXPECT_EQ(host.claimed.load(), 0U);
  }
}

// A block whose event cannot be recorded stays with its own stream.
TEST_F(CudaFaults, WithoutAnEventABlockStaysWithItsStream) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  host.limit = 8 * mib;
  const block held = make_large(8 * mib, a.ref());
  for (unsigned i = 0; i != 40; ++i) {
    fill(held, i, a.get());
  }
  give_back(held, a.ref());
  cudasim_fail_call("cudaEventRecord", 1, cudaErrorUnknown, 1);
  cudasim_fail_call("cudaStreamQuery", 1, cudaErrorUnknown, 1);
  EXPECT_EQ(tested->allocate_large(ask(8 * mib, b.ref())).error().code, errc::over_budget);
  EXPECT_EQ(memory().free_bytes, 8 * mib);
  const block again = make_large(8 * mib, a.ref());
  EXPECT_EQ(again.data, held.data);
  give_back(again, a.ref());
}

TEST_F(CudaFaults, AFreeOnAStreamThatCannotBeToldIsNotLost) {
  const test_stream a(*tested);
  const test_stream b(*tested, 2);
  host.limit = 8 * mib;
  const block held = make_large(8 * mib, a.ref());
  fill(held, 1, a.get());
  cudasim_fail_call("cudaStreamGetId", 1, cudaErrorUnknown, 0);
  give_back(held, a.ref());
  EXPECT_EQ(memory().free_bytes, 8 * mib);
  const block again = make_large(8 * mib, b.ref());
  fill(again, 2, b.get());
  give_back(again, b.ref());
}

TEST_F(CudaFaults, ALostDeviceAnswersSoAndCallsNobody) {
  cudaStream_t stream = nullptr;
  expect_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const stream_ref a = cuda::stream(stream);
  const block held = make_large(4 * mib, a);
  std::array<block, 5> small = {};
  ASSERT_EQ(tested->refill(ask(2 * kib, a), small).count, small.size());
  cudasim_fail_call("cudaStreamIsCapturing", 1, cudaErrorIllegalAddress, 0);
  EXPECT_EQ(tested->allocate_large(ask(4 * mib, a)).error().code, errc::device_lost);
  const std::uint64_t before = calls_of(nullptr);
  EXPECT_EQ(tested->allocate_large(ask(4 * mib, a)).error().code, errc::device_lost);
  EXPECT_EQ(tested->refill(ask(2 * kib, a), small).why.code, errc::device_lost);
  EXPECT_EQ(tested->fill(where, held.data, 0, 1, a).code, errc::device_lost);
  EXPECT_EQ(tested->copy(where, held.data, held.data, 1, a).code, errc::device_lost);
  EXPECT_EQ(tested->synchronise(where, a).code, errc::device_lost);
  EXPECT_EQ(tested->stream_id(where, a).error().code, errc::device_lost);
  EXPECT_EQ(tested->order(where, a, {}).code, errc::device_lost);
  give_back(held, a);
  tested->take_back(where, small, a);
  EXPECT_EQ(tested->trim(where, 0), 0U);
  EXPECT_EQ(tested->verify(), nullptr);
  EXPECT_EQ(memory().free_bytes, memory().reserved_bytes);
  tested->retire(where, a);
  tested.reset();
  EXPECT_EQ(calls_of(nullptr), before);
  EXPECT_EQ(host.claimed.load(), 0U);
  expect_success(cudaStreamDestroy(stream));
  // The simulator's device is well: what the backend could not give back is expected.
  cudasim_set_quiet(1);
  cudasim_report_leaks();
  cudasim_set_quiet(0);
  EXPECT_GT(cudasim_take_reports(CUDASIM_LEAK), 0U);
}

// Some have no name in older headers.
TEST_F(CudaFaults, EveryErrorThatStaysLosesTheDevice) {
  for (const int code : {4,   201, 214, 220, 226, 700, 702, 709, 710, 714,
                         715, 716, 717, 718, 719, 721, 805, 806, 810, 911}) {
    result<std::unique_ptr<backend>> made = cuda::try_make_backend();
    ASSERT_TRUE(made.has_value()) << to_string(made.error());
    (*made)->attach(host);
    cudaStream_t stream = nullptr;
    expect_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    cudasim_fail_call("cudaStreamGetId", 1, static_cast<cudaError_t>(code), 0);
    for (int i = 0; i < 2; ++i) {
      const result<block> none = (*made)->allocate_large(ask(4 * mib, cuda::stream(stream)));
      ASSERT_FALSE(none.has_value()) << code;
      EXPECT_EQ(none.error().code, errc::device_lost) << code;
      EXPECT_EQ(none.error().native, code);
    }
    made->reset();
    expect_success(cudaStreamDestroy(stream));
  }
  cudasim_set_quiet(1);
  cudasim_report_leaks();
  cudasim_set_quiet(0);
  static_cast<void>(cudasim_take_reports(CUDASIM_LEAK));  // none where there are no pools
}

}  // namespace
}  // namespace tidepool::test
