// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend, rule by rule: reuse within a stream, hand-over between streams, growth before
// waiting, streams that end, copies. Driver calls are counted where cudasim counts them.
#include "support.hpp"

#include <array>
#include <thread>

namespace tidepool::test {
namespace {

TEST_F(CudaBackend, OneStreamReusesWithoutRecordOrWait) {
  const test_stream s(*tested, 1);
  block held = make_large(3 * mib, s.ref());
  fill(held, 1, s.get());
  give_back(held, s.ref());
  const std::uint64_t before = calls_of(nullptr);
  for (unsigned i = 0; i != 10; ++i) {
    const block again = make_large(3 * mib, s.ref());
    EXPECT_EQ(again.data, held.data);
    give_back(again, s.ref());
  }
  // One question for each: does the stream capture?
  EXPECT_LE(calls_of(nullptr) - before, 10U);
  EXPECT_EQ(calls_of("cudaEventRecord"), 0U);
  EXPECT_EQ(calls_of("cudaStreamWaitEvent"), 0U);
}

TEST_F(CudaBackend, AHandOverIsAtMostOneRecordAndOneWait) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  const wrong_words wrong;
  host.limit = 8 * mib;
  const block first = make_large(8 * mib, a.ref());
  for (unsigned i = 0; i != 20; ++i) {
    fill(first, i, a.get());
  }
  give_back(first, a.ref());
  const std::uint64_t records = calls_of("cudaEventRecord");
  const std::uint64_t waits = calls_of("cudaStreamWaitEvent");
  const block second = make_large(8 * mib, b.ref());
  EXPECT_EQ(second.data, first.data);
  EXPECT_LE(calls_of("cudaEventRecord") - records, 1U);
  EXPECT_LE(calls_of("cudaStreamWaitEvent") - waits, 1U);
  fill(second, 7, b.get());
  check(second, 7, wrong, b.get());
  EXPECT_EQ(wrong.count(), 0U);
  give_back(second, b.ref());
}

}  // namespace
}  // namespace tidepool::test
