// SPDX-License-Identifier: Apache-2.0
//
// Contexts: a pool of GPU 1 makes none on GPU 0, whatever thread calls it, and every thread keeps
// the current context that it had: none, or one that the application created. Only the simulator
// counts contexts, and it needs two devices.
#include "pool_support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/graph.hpp>
#include <tidepool/prewarm.hpp>

#include <cuda.h>

#include <algorithm>
#include <functional>
#include <thread>
#include <utility>

namespace tidepool::test {
namespace {

class CudaContexts : public ::testing::Test {
 protected:
  using step = std::pair<const char*, std::function<void()>>;

  void SetUp() override {
    if (cudasim_is_present() == 0) {
      GTEST_SKIP() << "skipped, no GPU of the simulator: contexts are not counted";
    }
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count < 2) {
      GTEST_SKIP() << "skipped, no GPU beside the first";
    }
    look_up(get_current, "cuCtxGetCurrent");
    look_up(create, "cuCtxCreate");
    look_up(destroy, "cuCtxDestroy");
  }

  template <class F>
  void look_up(F& function, const char* name) {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult answer{};
    expect_success(
        cudaGetDriverEntryPointByVersion(name, &found, 11020, cudaEnableDefault, &answer));
    ASSERT_NE(found, nullptr) << name;
    function = reinterpret_cast<F>(found);
  }

  [[nodiscard]] CUcontext current() const {
    CUcontext now = nullptr;
    EXPECT_EQ(get_current(&now), CUDA_SUCCESS);
    return now;
  }

  void open() {
    std::vector<std::unique_ptr<backend>> backends;
    backends.push_back(cpu::make_backend());
    result<std::unique_ptr<backend>> made = try_make_watched({.ordinal = 1});
    ASSERT_TRUE(made.has_value()) << to_string(made.error());
    backends.push_back(std::move(*made));
    p = std::make_unique<pool>(std::move(backends), pool_options{});
  }

  /// What a program does with a pool, from its making to its end. `stream` is one of GPU 1.
  [[nodiscard]] std::vector<step> life(const stream_ref& stream) {
    return {
        {"make", [this] { open(); }},
        {"limits", [this] { (void)p->control().set_limits(gpu, {.hard = 64 * mib}); }},
        {"small", [=, this] { held.push_back(p->allocate(kib, gpu, {.stream = stream})); }},
        {"large", [=, this] { held.push_back(p->allocate(9 * mib, gpu, {.stream = stream})); }},
        {"default stream", [this] { held.push_back(p->allocate(5 * mib, gpu)); }},
        {"per thread",
         [this] {
           const stream_ref own = cuda::stream(cudaStreamPerThread);
           p->allocate(5 * mib, gpu, {.stream = own}).reset();
         }},
        {"growable",
         [this] { held.push_back(p->allocate(3 * mib, gpu.with(memory_kind::growable))); }},
        {"plain", [this] { held.push_back(p->allocate(mib, gpu.with(memory_kind::plain))); }},
        {"pinned", [this] { held.push_back(p->allocate(mib, device::pinned(gpu))); }},
        {"managed", [this] { held.push_back(p->allocate(mib, device::managed(gpu))); }},
        {"host", [this] { held.push_back(p->allocate(mib, device::cpu())); }},
        {"copy",
         [this] {
           EXPECT_TRUE(p->copy({.dst = held[1].id(), .src = held.back().id(), .bytes = mib}).ok());
         }},
        {"synchronise", [=, this] { EXPECT_TRUE(p->synchronise(gpu, stream).ok()); }},
        {"synchronise default", [this] { EXPECT_TRUE(p->synchronise(gpu).ok()); }},
        {"record_use", [this] { EXPECT_EQ(p->record_use(held[1].id(), {}), errc::ok); }},
        {"prewarm",
         [this] {
           const prewarm_report made =
               p->control().prewarm({.items = {{64 * kib, 4}, {2 * mib, 2}}, .where = gpu});
           EXPECT_EQ(made.blocks, 6U);
         }},
        {"share", [this] { held.push_back(*p->share(held[1])); }},
        {"slice", [this] { held.push_back(*p->slice(held[1], 0, kib)); }},
        {"resize", [this] { EXPECT_EQ(p->resize(held[2], 4 * mib), errc::ok); }},
        {"pin", [this] { EXPECT_TRUE(p->pin(held[1].id()).has_value()); }},
        {"unpin", [this] { EXPECT_EQ(p->unpin(held[1].id()), errc::ok); }},
        {"prefetch", [this] { EXPECT_TRUE(p->prefetch(managed().id(), gpu).ok()); }},
        {"advise", [this] { EXPECT_TRUE(p->advise(managed().id(), {.of = gpu}).ok()); }},
        {"fill per thread",
         [this] { EXPECT_TRUE(p->fill(held[1].id(), 3, cuda::stream(cudaStreamPerThread)).ok()); }},
        {"end on another stream", [this] { held[3].reset(cuda::stream(cudaStreamPerThread)); }},
        {"arena",
         [=, this] {
           graph_arena arena(*p, gpu);
           if (!stream.is_default()) {
             const capture_scope scope(arena, stream);
             p->allocate(mib, gpu, {.stream = stream}).reset();
           }
           arena.reset();
         }},
        {"free", [this] { held.clear(); }},
        {"statistics", [this] { (void)p->control().statistics(); }},
        {"tick", [this] { p->control().tick(); }},
        {"trim", [this] { EXPECT_EQ(p->control().trim().reserved_bytes, 0U); }},
        {"retire", [=, this] { (void)p->retire(gpu, stream); }},
        {"close",
         [this] {
           p->close();
           p.reset();
         }},
    };
  }

  [[nodiscard]] const tensor& managed() const {
    return *std::find_if(held.begin(), held.end(), [](const tensor& each) {
      return each.where().kind() == device_kind::managed;
    });
  }

  const device gpu = device::cuda(1);
  std::unique_ptr<pool> p;
  std::vector<tensor> held;
  decltype(&cuCtxGetCurrent) get_current = nullptr;
  CUresult (*create)(CUcontext*, unsigned, CUdevice) = nullptr;
  decltype(&cuCtxDestroy) destroy = nullptr;
};

TEST_F(CudaContexts, APoolOfOneGpuMakesNoContextOnAnother) {
  const unsigned before = cudasim_contexts(0);  // 0 where this test runs alone
  cudaStream_t stream = nullptr;
  std::thread([&] {
    expect_success(cudaSetDevice(1));
    expect_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  }).join();
  for (const auto& [name, run] : life(cuda::stream(stream))) {
    std::thread([&] {
      run();
      EXPECT_EQ(current(), nullptr) << name;
    }).join();
    EXPECT_EQ(cudasim_contexts(0), before) << name;
  }
  std::thread([&] {
    expect_success(cudaSetDevice(1));
    expect_success(cudaStreamDestroy(stream));
  }).join();
}

TEST_F(CudaContexts, AnApplicationsOwnContextStaysCurrent) {
  std::thread([this] {
    CUcontext own = nullptr;
    ASSERT_EQ(create(&own, 0, 0), CUDA_SUCCESS);
    for (const auto& [name, run] : life({})) {
      run();
      EXPECT_EQ(current(), own) << name;
      int now = -1;
      expect_success(cudaGetDevice(&now));
      EXPECT_EQ(now, 0) << name;
    }
    EXPECT_EQ(destroy(own), CUDA_SUCCESS);
  }).join();
}

// The handles of a GPU that was reset are no longer given to any call.
TEST_F(CudaContexts, AResetByTheApplicationIsALostDevice) {
  for (const bool makes_it_again : {false, true}) {
    for (const bool allocates : {true, false}) {
      std::thread([&] {
        open();
        held.push_back(p->allocate(9 * mib, gpu));
        held.push_back(p->allocate(9 * mib, gpu.with(memory_kind::growable)));
        held.push_back(p->allocate(9 * mib, device::pinned(gpu)));
        held.push_back(p->allocate(9 * mib, device::managed(gpu)));
        p->allocate(3 * mib, gpu).reset();
        expect_success(cudaSetDevice(1));
        expect_success(cudaDeviceReset());
        if (makes_it_again) {
          expect_success(cudaFree(nullptr));
        }
        if (allocates) {
          const result<tensor> more = p->try_allocate(40 * mib, gpu);
          ASSERT_FALSE(more.has_value());
          EXPECT_EQ(more.error().code, errc::device_lost);
        }
        held.clear();
        p->control().tick();
        p->close();
        p.reset();
        EXPECT_EQ(cudasim_take_reports(CUDASIM_STALE_HANDLE), 0U);
      }).join();
    }
  }
  cudasim_report_leaks();  // mapped memory outlives a reset, and a lost device gives nothing back
  (void)cudasim_take_reports(CUDASIM_LEAK);
}

TEST_F(CudaContexts, ADriverThatSaysInvalidContextHasLostTheDevice) {
  std::thread([this] {
    open();
    cudasim_fail_call("cuCtxPushCurrent", 1, cudaErrorDeviceUninitialized, 1);
    const result<tensor> more = p->try_allocate(40 * mib, gpu);
    cudasim_fail_no_call();
    ASSERT_FALSE(more.has_value());
    EXPECT_EQ(more.error().code, errc::device_lost);
  }).join();
  cudasim_report_leaks();  // what a lost device holds is not given back
  (void)cudasim_take_reports(CUDASIM_LEAK);
}

TEST_F(CudaContexts, AGpuInExclusiveUseIsUnavailable) {
  cudasim_fail_call("cuDevicePrimaryCtxRetain", 1, cudaErrorDevicesUnavailable, 0);
  const result<std::unique_ptr<backend>> made = cuda::try_make_backend({.ordinal = 1});
  cudasim_fail_no_call();
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, errc::backend_unavailable);
  EXPECT_EQ(made.error().native, static_cast<int>(cudaErrorDevicesUnavailable));
}

// An event of one GPU cannot be recorded on a stream of another.
TEST_F(CudaContexts, AStreamOfAnotherGpuIsRefused) {
  open();
  int before = 0;
  expect_success(cudaGetDevice(&before));
  cudaStream_t foreign = nullptr;
  expect_success(cudaSetDevice(0));
  expect_success(cudaStreamCreateWithFlags(&foreign, cudaStreamNonBlocking));
  expect_success(cudaSetDevice(1));
  cudaStream_t own = nullptr;
  expect_success(cudaStreamCreateWithFlags(&own, cudaStreamNonBlocking));
  expect_success(cudaSetDevice(before));
  for (const device where : {gpu, gpu.with(memory_kind::plain)}) {
    const auto refused = p->try_allocate(kib, where, {.stream = cuda::stream(foreign)});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, errc::invalid_argument);
    EXPECT_NE(to_string(refused.error()).find("another GPU"), std::string::npos);
    EXPECT_EQ(p->attach(where, cuda::stream(foreign)).error().code, errc::invalid_argument);
    tensor t = p->allocate(kib, where, {.stream = cuda::stream(own)});
    EXPECT_EQ(p->record_use(t.id(), cuda::stream(foreign)), errc::invalid_argument);
    t.reset(cuda::stream(foreign));  // waits for it
  }
  tensor pinned = p->allocate(kib, device::pinned(gpu));
  EXPECT_EQ(p->record_use(pinned.id(), cuda::stream(foreign)), errc::invalid_argument);
  pinned.reset();
  EXPECT_EQ(p->retire(gpu, cuda::stream(own)), errc::ok);
  EXPECT_EQ(p->retire(gpu.with(memory_kind::plain), cuda::stream(own)), errc::ok);
  p.reset();
  expect_success(cudaStreamDestroy(foreign));
  expect_success(cudaStreamDestroy(own));
}

}  // namespace
}  // namespace tidepool::test
