// SPDX-License-Identifier: Apache-2.0
//
// Streams that are destroyed without pool::retire, and whose handles come again. An event on the
// new stream says nothing about the old one's work, so no memory may be handed out on its word. The
// simulator gives the handle of the stream destroyed last to the next one, and reports each access
// that nothing orders.
#include "pool_support.hpp"

#include <array>

namespace tidepool::test {
namespace {

constexpr std::array sizes{4 * kib, 700 * kib, 3 * mib, 40 * mib};

class RecycledStream : public CudaPool {
 protected:
  void TearDown() override {
    if (p != nullptr) {
      expect_success(cudaDeviceSynchronize());
      EXPECT_EQ(p->control().verify(), nullptr);
      EXPECT_EQ(p->control().trim().reserved_bytes, 0U);
      p.reset();
    }
    if (cudasim_is_present() != 0) {
      // Nobody said that the streams are destroyed, so the pool asks about them until it knows.
      (void)cudasim_take_reports(CUDASIM_STALE_HANDLE);
      EXPECT_EQ(cudasim_untaken_reports(), 0U);
    }
  }
  /// Destroys the stream and makes another one with its handle. Where the driver gives another one,
  /// there is nothing to test.
  [[nodiscard]] bool replace(cudaStream_t& stream) {
    const cudaStream_t old = stream;
    expect_success(cudaStreamDestroy(old));
    for (int i = 0; i < 64; ++i) {
      expect_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
      if (stream == old) {
        return true;
      }
      others_.push_back(stream);
    }
    return false;
  }
  void end(cudaStream_t stream) {
    for (const device_description& about : p->devices()) {
      (void)p->retire(about.where, cuda::stream(stream));
    }
    expect_success(cudaStreamDestroy(stream));
    for (const cudaStream_t other : others_) {
      expect_success(cudaStreamDestroy(other));
    }
    others_.clear();
  }
  [[nodiscard]] std::uint64_t misuses() const { return p->control().statistics().misuses; }
  [[nodiscard]] static cudaStream_t make() {
    cudaStream_t made = nullptr;
    expect_success(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
    return made;
  }

 private:
  std::vector<cudaStream_t> others_;
};

// The pool is at its limit, so another stream can only get what the old one has freed.
TEST_F(RecycledStream, ItsMemoryIsOthersOnlyWhenItsWorkIsDone) {
  const pool_stream other(*p);
  const wrong_words wrong;
  (void)p->control().set_limits(gpu, {.hard = 64 * mib});
  for (const bool is_attached : {false, true}) {
    for (const std::size_t bytes : sizes) {
      (void)p->control().trim();
      cudaStream_t stream = make();
      const stream_ref named =
          is_attached ? *p->attach(gpu, cuda::stream(stream)) : cuda::stream(stream);
      std::vector<tensor> held;
      while (result<tensor> made = p->try_allocate(bytes, gpu, {.stream = named})) {
        fill(block_of(*made), 7, stream);
        check(block_of(*made), 7, wrong, stream);
        held.push_back(std::move(*made));
      }
      held.clear();
      if (!replace(stream)) {
        end(stream);
        GTEST_SKIP() << "the driver gave no handle a second time";
      }
      for (int i = 0; i < 3; ++i) {
        held.push_back(
            p->allocate(bytes == 40 * mib ? bytes / 4 : bytes, gpu, {.stream = other.raw()}));
        fill(block_of(held.back()), 8, other.get());
        check(block_of(held.back()), 8, wrong, other.get());
      }
      held.clear();
      EXPECT_EQ(wrong.count(), 0U) << bytes;
      end(stream);
    }
  }
}

// Builds without checks find this out only when the backend is to record an event.
TEST_F(RecycledStream, CheckedBuildsGiveTheNewStreamNothingOfTheOldOne) {
  if (TIDEPOOL_ASSERT_LEVEL < 2) {
    GTEST_SKIP() << "not a checked build";
  }
  const wrong_words wrong;
  bool is_attached = false;
  for (const std::size_t bytes : sizes) {
    cudaStream_t stream = make();
    is_attached = !is_attached;
    const stream_ref named =
        is_attached ? *p->attach(gpu, cuda::stream(stream)) : cuda::stream(stream);
    tensor ended = p->allocate(bytes, gpu, {.stream = named});
    tensor alive = p->allocate(bytes, gpu, {.stream = named});
    for (const tensor* each : {&ended, &alive}) {
      fill(block_of(*each), 7, stream);
      check(block_of(*each), 7, wrong, stream);
    }
    ended.reset();
    if (!replace(stream)) {
      end(stream);
      GTEST_SKIP() << "the driver gave no handle a second time";
    }
    const std::uint64_t before = misuses();
    tensor next = p->allocate(bytes, gpu, {.stream = named});
    fill(block_of(next), 8, stream);
    EXPECT_EQ(misuses(), before + 1);
    alive.reset();  // in the order of the default stream, which does not wait for the old one
    tensor after = p->allocate(bytes, gpu);
    fill(block_of(after), 9, cudaStreamLegacy);
    after.reset();
    check(block_of(next), 8, wrong, stream);
    next.reset();
    EXPECT_EQ(wrong.count(), 0U) << bytes;
    EXPECT_EQ(misuses(), before + 1);
    end(stream);
  }
}

TEST_F(RecycledStream, WhatItUsedElsewhereWaitsForIt) {
  const pool_stream owner(*p);
  const wrong_words wrong;
  for (const std::size_t bytes : sizes) {
    cudaStream_t stream = make();
    tensor t = p->allocate(bytes, gpu, {.stream = owner.raw()});
    fill(block_of(t), 7, owner.get());
    order(owner.get(), stream);
    check(block_of(t), 7, wrong, stream);
    EXPECT_EQ(p->record_use(t.id(), cuda::stream(stream)), errc::ok);
    if (!replace(stream)) {
      end(stream);
      GTEST_SKIP() << "the driver gave no handle a second time";
    }
    EXPECT_EQ(p->retire(gpu, cuda::stream(stream)), errc::ok);
    t.reset();
    tensor next = p->allocate(bytes, gpu, {.stream = owner.raw()});
    fill(block_of(next), 8, owner.get());
    check(block_of(next), 8, wrong, owner.get());
    next.reset();
    EXPECT_EQ(wrong.count(), 0U) << bytes;
    end(stream);
  }
}

TEST_F(RecycledStream, WaitingForItWaitsForItsWork) {
  const wrong_words wrong;
  cudaStream_t stream = make();
  const stream_ref named = *p->attach(gpu, cuda::stream(stream));
  tensor t = p->allocate(1 * mib, gpu, {.stream = named});
  fill(block_of(t), 7, stream);
  if (!replace(stream)) {
    end(stream);
    GTEST_SKIP() << "the driver gave no handle a second time";
  }
  EXPECT_TRUE(p->synchronise(gpu, named).ok());
  unsigned first = 0;
  expect_success(cudaMemcpyAsync(&first, t.data(), sizeof first, cudaMemcpyDefault, stream));
  expect_success(cudaStreamSynchronize(stream));
  EXPECT_EQ(first, 7U);
  t.reset();
  end(stream);
}

// To wait for the whole device would end a capture without a graph.
TEST_F(RecycledStream, NobodyWaitsForItWhileAnotherStreamCaptures) {
  const wrong_words wrong;
  (void)p->control().set_limits(gpu, {.hard = 64 * mib});
  const pool_stream other(*p);
  (void)other.attached();
  cudaStream_t stream = make();
  const stream_ref named = *p->attach(gpu, cuda::stream(stream));
  tensor t = p->allocate(48 * mib, gpu, {.stream = named});
  fill(block_of(t), 7, stream);
  tensor second = p->allocate(4 * mib, gpu, {.stream = named});
  t.reset();
  if (!replace(stream)) {
    end(stream);
    GTEST_SKIP() << "the driver gave no handle a second time";
  }
  for (const cudaStreamCaptureMode mode :
       {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal,
        cudaStreamCaptureModeRelaxed}) {
    expect_success(cudaStreamBeginCapture(other.get(), mode));
    EXPECT_EQ(p->synchronise(gpu, named).code, errc::stream_captures);
    EXPECT_FALSE(p->try_allocate(48 * mib, gpu).has_value());
    (void)p->control().trim();
    cudaGraph_t graph = nullptr;
    expect_success(cudaStreamEndCapture(other.get(), &graph));
    ASSERT_NE(graph, nullptr);
    expect_success(cudaGraphDestroy(graph));
  }
  const tensor next = p->allocate(48 * mib, gpu);
  fill(block_of(next), 8, nullptr);
  check(block_of(next), 8, wrong, nullptr);
  EXPECT_EQ(wrong.count(), 0U);
  second.reset();
  end(stream);
}

// Thousands of streams, one after the other, by a program that does not know retire.
TEST_F(RecycledStream, ManyStreamsOneAfterTheOtherAreServed) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "asks a real driver about destroyed streams";
  }
  (void)p->control().set_limits(gpu, {.hard = 64 * mib});
  for (int i = 0; i < 600; ++i) {
    const cudaStream_t stream = make();
    const result<tensor> t = p->try_allocate(4 * mib, gpu, {.stream = cuda::stream(stream)});
    ASSERT_TRUE(t.has_value()) << i << to_string(t.error());
    fill(block_of(*t), 1, stream);
    expect_success(cudaStreamDestroy(stream));
  }
  EXPECT_TRUE(p->try_allocate(48 * mib, gpu).has_value());
}

}  // namespace
}  // namespace tidepool::test
