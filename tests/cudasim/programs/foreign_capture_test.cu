// SPDX-License-Identifier: Apache-2.0
//
// Captures that another thread seems to begin and end between two calls: which calls spoil them,
// and whose calls are not held against anybody.
#include "support.cuh"

#include <functional>

namespace {

class ForeignCapture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cudasim_is_present()) {
      GTEST_SKIP() << "cudasim only";
    }
    expect_success(cudaMalloc(&memory_, 64), "cudaMalloc");
  }
  void TearDown() override {
    if (cudasim_is_present()) {
      cudasim_set_foreign_captures(0);
      expect_success(cudaFree(memory_), "cudaFree");
    }
  }
  // Does it for some seeds, watched; answers the reports.
  static unsigned long long reports_of(const std::function<void()>& work) {
    const unsigned long long begun = cudasim_foreign_captures();
    for (unsigned seed = 1; seed <= 100; ++seed) {
      cudasim_set_foreign_captures(seed);
      const int before = cudasim_watch(1);
      work();
      cudasim_watch(before);
      cudaGetLastError();
    }
    cudasim_set_foreign_captures(0);
    EXPECT_GT(cudasim_foreign_captures(), begun);
    return taken(CUDASIM_SPOILT_CAPTURE);
  }
  static bool captures(cudaStream_t stream) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaStreamIsCapturing(stream, &status);
    return status != cudaStreamCaptureStatusNone;
  }
  // Asks first, as a careful program does. The capture that matters begins after the answer.
  unsigned long long reports_after_asking(const std::function<void(cudaStream_t)>& work) {
    scoped_stream stream;
    cudasim_lend_stream(stream);
    return reports_of([&] {
      for (int i = 0; i < 4; ++i) {
        if (!captures(stream)) {
          work(stream);
        }
      }
    });
  }

  void* memory_ = nullptr;
};

TEST_F(ForeignCapture, AnUnsafeCallSpoilsOneUnlessTheThreadIsRelaxed) {
  const auto allocate = [] {
    for (int i = 0; i < 8; ++i) {
      void* p = nullptr;
      cudaMalloc(&p, 64);
      cudaFree(p);
    }
  };
  cudasim_set_quiet(1);
  EXPECT_GT(reports_of(allocate), 0U);
  cudasim_set_quiet(0);
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  expect_success(cudaThreadExchangeStreamCaptureMode(&mode), "exchange");
  EXPECT_EQ(reports_of(allocate), 0U);
  expect_success(cudaThreadExchangeStreamCaptureMode(&mode), "exchange");
  cudasim_report_leaks();
  taken(CUDASIM_LEAK);  // of frees that a capture has refused
}

TEST_F(ForeignCapture, OneReportSaysWhichCallItWas) {
  cudasim_set_quiet(1);
  EXPECT_GT(reports_of([] {
              for (int i = 0; i < 8; ++i) {
                cudaDeviceSynchronize();
              }
            }),
            0U);
  cudasim_set_quiet(0);
  EXPECT_NE(latest_report().find("cudaDeviceSynchronize has spoilt the capture"), std::string::npos)
      << latest_report();
}

TEST_F(ForeignCapture, CallsThatNobodyWatchesComeAfterItsEnd) {
  scoped_stream stream;
  cudasim_lend_stream(stream);
  EXPECT_EQ(reports_of([&] {
              for (int i = 0; i < 8; ++i) {
                captures(stream);
                const int before = cudasim_watch(0);
                expect_success(cudaMemsetAsync(memory_, 0, 64, stream), "fill");
                expect_success(cudaStreamSynchronize(stream), "wait");
                expect_success(cudaDeviceSynchronize(), "wait for the device");
                cudasim_watch(before);
              }
            }),
            0U);
}

TEST_F(ForeignCapture, AnAnswerIsOldBeforeTheNextCall) {
  cudasim_set_quiet(1);
  scoped_event event;
  scoped_stream other;
  EXPECT_GT(reports_after_asking([](cudaStream_t s) { cudaStreamQuery(s); }), 0U);
  EXPECT_GT(reports_after_asking([](cudaStream_t s) { cudaStreamSynchronize(s); }), 0U);
  EXPECT_GT(reports_after_asking([&](cudaStream_t s) { cudaMemsetAsync(memory_, 0, 64, s); }), 0U);
  const auto record = [&](cudaStream_t s) { cudaEventRecord(event, s); };
  EXPECT_EQ(reports_after_asking(record), 0U) << "an event that is forgotten is in no graph";
  EXPECT_GT(reports_after_asking([&](cudaStream_t s) {
              record(s);
              cudaStreamWaitEvent(other, event, 0);
            }),
            0U);
  cudasim_set_quiet(0);
  EXPECT_FALSE(captures(other)) << "it takes part no longer than the capture lasts";
}

}  // namespace
