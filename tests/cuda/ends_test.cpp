// SPDX-License-Identifier: Apache-2.0
//
// Ends: of threads, whose last destructors must not call CUDA, because the driver's own state of
// the thread may be gone; and of forked children, which must not call CUDA at all.
#include "pool_support.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <thread>

namespace tidepool::test {
namespace {

constexpr std::array sizes{1 * kib, 100 * kib, 3 * mib};
constexpr stream_ref own_default{.kind = stream_kind::per_thread};

/// All calls, and those that only make a context current.
[[nodiscard]] std::uint64_t all_calls() {
  std::uint64_t calls = calls_of(nullptr);
  for (const char* const name : {"cuCtxPushCurrent", "cuCtxPopCurrent", "cuDevicePrimaryCtxRelease",
                                 "cudaThreadExchangeStreamCaptureMode"}) {
    calls += calls_of(name);
  }
  return calls;
}

using CudaEnds = CudaPool;

TEST_F(CudaEnds, AThreadEndsWithoutADriverCallAndItsMemoryServesOthersInOrder) {
  const wrong_words wrong;
  const pool_stream a(*p);
  const pool_stream b(*p);
  (void)p->control().set_limits(gpu, {.hard = 64 * mib});
  std::size_t served = 0;
  for (int round = 0; round < 4; ++round) {
    tensor shared = p->allocate(1 * mib, gpu, {.stream = a.raw()});
    tensor pinned = p->allocate(1 * mib, device::pinned(gpu));
    std::uint64_t before = 0;
    std::thread([&] {
      const stream_ref named = a.attached();
      for (int i = 0; i < 3; ++i) {
        std::vector<tensor> held;
        for (const std::size_t bytes : sizes) {
          held.push_back(p->allocate(bytes, gpu, {.stream = own_default}));
          fill(block_of(held.back()), 5, cudaStreamPerThread);
          held.push_back(p->allocate(bytes, gpu, {.stream = named}));
          fill(block_of(held.back()), 6, a.get());
        }
      }
      fill(block_of(shared), 7, cudaStreamPerThread);
      EXPECT_EQ(p->record_use(shared.id(), own_default), errc::ok);
      fill(block_of(pinned), 7, cudaStreamPerThread);
      EXPECT_EQ(p->record_use(pinned.id(), own_default), errc::ok);
      before = all_calls();
    }).join();
    EXPECT_EQ(all_calls(), before);
    shared.reset();
    pinned.reset();
    // All memory there is, on another stream.
    std::vector<tensor> all;
    while (result<tensor> made = p->try_allocate(3 * mib, gpu, {.stream = b.raw()})) {
      all.push_back(std::move(*made));
      fill(block_of(all.back()), 8, b.get());
      check(block_of(all.back()), 8, wrong, b.get());
    }
    served = round == 0 ? all.size() : served;
    EXPECT_GE(all.size(), served) << round;
    EXPECT_EQ(p->control().verify(), nullptr);
  }
  EXPECT_EQ(wrong.count(), 0U);
}

TEST_F(CudaEnds, ManyThreadsOneAfterTheOtherAreServed) {
  (void)p->control().set_limits(gpu, {.hard = 64 * mib});
  for (int i = 0; i < 300; ++i) {
    std::thread([&] {
      const result<tensor> t = p->try_allocate(12 * mib, gpu, {.stream = own_default});
      ASSERT_TRUE(t.has_value()) << i << to_string(t.error());
      fill(block_of(*t), 1, cudaStreamPerThread);
    }).join();
  }
}

TEST_F(CudaEnds, AForkedChildCallsNoDriver) {
  tensor kept = p->allocate(3 * mib, gpu);
  tensor pinned = p->allocate(3 * mib, device::pinned(gpu));
  tensor on_host = p->allocate(3 * mib, device::cpu());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::uint64_t before = all_calls();
    const result<tensor> none = p->try_allocate(40 * mib, gpu);
    bool good = !none && none.error().code == errc::device_lost;
    good = good && to_string(none.error()).find("fork") != std::string::npos;
    kept.reset();
    pinned.reset();
    on_host.reset();
    good = good && p->try_allocate(5 * mib, device::cpu()).has_value();
    p->control().tick();
    (void)p->control().trim();
    p.reset();
    ::_exit(good && all_calls() == before ? 0 : 1);
  }
  int how = 0;
  ASSERT_EQ(::waitpid(child, &how, 0), child);
  EXPECT_TRUE(WIFEXITED(how) && WEXITSTATUS(how) == 0) << how;
  EXPECT_TRUE(p->try_allocate(40 * mib, gpu).has_value());
}

}  // namespace
}  // namespace tidepool::test
