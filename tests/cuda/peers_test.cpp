// SPDX-License-Identifier: Apache-2.0
//
// Memory of GPU 0 as GPU 1 reaches it, for each kind of memory and each choice of peers: kernels
// and copies of the other GPU, copies by the pool, which need no access, bad input, and a driver
// that refuses access. Two GPUs are needed; what is refused shows on the simulator only.
#include "pool_support.hpp"
#include <tidepool/control.hpp>

#include <array>
#include <string>

namespace tidepool::test {
namespace {

constexpr std::uint16_t other_gpu = 1;

[[nodiscard]] bool are_peers() {
  int can = 0;
  expect_success(cudaDeviceCanAccessPeer(&can, other_gpu, 0));
  return can != 0;
}

class CudaPeers : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count < 2) {
      GTEST_SKIP() << "skipped, no GPU beside the first";
    }
    expect_success(cudaSetDevice(0));
  }
  void TearDown() override {
    if (cudasim_is_present() != 0) {
      cudasim_fail_no_call();
    }
    static_cast<void>(cudaSetDevice(0));
  }

  [[nodiscard]] static errc code_of(const cuda::backend_options& options) {
    const result<std::unique_ptr<backend>> made = cuda::try_make_backend(options);
    return made ? errc::ok : made.error().code;
  }

  void open(const cuda::backend_options& options = {}) {
    result<std::unique_ptr<backend>> made = cuda::try_make_backend(options);
    ASSERT_TRUE(made.has_value()) << to_string(made.error());
    tested = std::move(*made);
    tested->attach(host);
  }
  [[nodiscard]] bool serves(device where) const {
    for (const device_description& about : tested->devices()) {
      if (about.where == where) {
        return true;
      }
    }
    return false;
  }
  [[nodiscard]] block make(device where, std::size_t bytes) {
    const result<block> made =
        tested->allocate_large({.where = where, .bytes = bytes, .alignment = 256, .stream = {}});
    EXPECT_TRUE(made.has_value()) << to_string(made.error());
    return made ? *made : block{};
  }
  void give_back(device where, const block& what) { tested->take_back(where, {&what, 1}, {}); }

  /// What a kernel of the other GPU on the block ends with. Its error is taken.
  [[nodiscard]] static cudaError_t kernel_of_other(const block& what) {
    expect_success(cudaSetDevice(other_gpu));
    launch_fill(static_cast<unsigned*>(what.data), what.bytes / sizeof(unsigned), 5,
                cudaStreamLegacy);
    return end_of_other();
  }
  /// The same of a copy on a stream of the other GPU, to memory of that one.
  [[nodiscard]] static cudaError_t copy_of_other(const block& what) {
    expect_success(cudaSetDevice(other_gpu));
    void* there = nullptr;
    expect_success(cudaMalloc(&there, kib));
    static_cast<void>(cudaMemcpyAsync(there, what.data, kib, cudaMemcpyDefault, cudaStreamLegacy));
    const cudaError_t error = end_of_other();
    expect_success(cudaSetDevice(other_gpu));
    expect_success(cudaFree(there));
    expect_success(cudaSetDevice(0));
    return error;
  }
  [[nodiscard]] static cudaError_t end_of_other() {
    const cudaError_t error = cudaDeviceSynchronize();
    if (error != cudaSuccess) {
      EXPECT_EQ(cudasim_take_reports(CUDASIM_UNALLOCATED), 1U);
      cudasim_clear_error();
      static_cast<void>(cudaGetLastError());
    }
    expect_success(cudaSetDevice(0));
    return error;
  }
  void end() {
    for (const device_description& about : tested->devices()) {
      (void)tested->trim(about.where, 0);
      EXPECT_EQ(tested->memory(about.where).reserved_bytes, 0U);
    }
    EXPECT_EQ(host.claimed.load(), 0U);
    tested.reset();
  }

  const device pooled = device::cuda(0);
  const device plain = pooled.with(memory_kind::plain);
  const device growable = pooled.with(memory_kind::growable);
  budget host;
  std::unique_ptr<backend> tested;
};

// First, so that in a process of its own no test before it has made a context on the other GPU.
TEST_F(CudaPeers, NoContextIsMadeOnAPeer) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "skipped, no GPU of the simulator: contexts are not counted";
  }
  const unsigned before = cudasim_contexts(other_gpu);  // 0 where this test runs alone
  open();
  for (const device_description& about : tested->devices()) {
    give_back(about.where, make(about.where, 3 * mib));
    give_back(about.where, make(about.where, 9 * mib));
  }
  EXPECT_EQ(cudasim_contexts(other_gpu), before);
  end();
  EXPECT_EQ(cudasim_contexts(other_gpu), before);
}

TEST_F(CudaPeers, ReachMemoryThatCarriesItsAccess) {
  if (!are_peers()) {
    GTEST_SKIP() << "the GPUs are no peers";
  }
  for (const bool is_named : {false, true}) {
    open(is_named ? cuda::backend_options{.peers = cuda::peer_access::these, .peer_ordinals = {1}}
                  : cuda::backend_options{});
    for (const device where : {pooled, growable}) {
      if (!serves(where) ||
          tested->devices().front().name.find("no memory pools") != std::string_view::npos) {
        continue;
      }
      SCOPED_TRACE(where.bits());
      block first = make(where, 3 * mib);
      const block later = make(where, 9 * mib);  // of another slab
      for (const block& each : {first, later}) {
        EXPECT_EQ(kernel_of_other(each), cudaSuccess);
        EXPECT_EQ(copy_of_other(each), cudaSuccess);
        unsigned seen = 0;
        expect_success(cudaMemcpy(&seen, each.data, sizeof seen, cudaMemcpyDefault));
        EXPECT_EQ(seen, 5U);
      }
      give_back(where, first);
      give_back(where, later);
    }
    end();
  }
}

TEST_F(CudaPeers, ReachWhatGrowsInPlace) {
  if (!are_peers()) {
    GTEST_SKIP() << "the GPUs are no peers";
  }
  open();
  if (!serves(growable)) {
    GTEST_SKIP() << "no growable memory";
  }
  block what = make(growable, 40 * mib);
  const result<std::size_t> longer = tested->extend(growable, what, 60 * mib);
  ASSERT_TRUE(longer.has_value()) << to_string(longer.error());
  what.bytes = *longer;
  EXPECT_EQ(kernel_of_other(what), cudaSuccess);
  give_back(growable, what);
  end();
}

TEST_F(CudaPeers, AreRefusedWhereNobodyMay) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "skipped, no GPU of the simulator: an illegal access would end the process";
  }
  open({.peers = cuda::peer_access::none});
  for (const device where : {pooled, growable}) {
    if (!serves(where)) {
      continue;
    }
    const block what = make(where, 3 * mib);
    EXPECT_EQ(kernel_of_other(what), cudaErrorIllegalAddress) << where.bits();
    give_back(where, what);
  }
  end();
}

// The application's own call, which the backend does not make: it would change its contexts.
TEST_F(CudaPeers, ReachPlainMemoryByTheApplicationsOwnCall) {
  if (!are_peers() || cudasim_is_present() == 0) {
    GTEST_SKIP() << "skipped, no GPU of the simulator with peers";
  }
  open();
  const block what = make(plain, 3 * mib);
  EXPECT_EQ(kernel_of_other(what), cudaErrorIllegalAddress);
  EXPECT_EQ(calls_of("cudaDeviceEnablePeerAccess"), 0U);
  expect_success(cudaSetDevice(other_gpu));
  expect_success(cudaDeviceEnablePeerAccess(0, 0));
  EXPECT_EQ(kernel_of_other(what), cudaSuccess);
  expect_success(cudaSetDevice(other_gpu));
  expect_success(cudaDeviceDisablePeerAccess(0));
  expect_success(cudaSetDevice(0));
  give_back(plain, what);
  end();
}

TEST_F(CudaPeers, ReachHostMemoryWhateverIsChosen) {
  open({.peers = cuda::peer_access::none});
  for (const device where : {device::pinned(pooled), device::managed(pooled)}) {
    if (serves(where)) {
      const block what = make(where, 3 * mib);
      EXPECT_EQ(kernel_of_other(what), cudaSuccess) << where.bits();
      give_back(where, what);
    }
  }
  end();
}

// Without access the driver carries the bytes; the stream may be one of either GPU.
TEST_F(CudaPeers, ACopyBetweenGpusNeedsNoAccess) {
  for (const cuda::peer_access peers : {cuda::peer_access::all, cuda::peer_access::none}) {
    std::vector<std::unique_ptr<backend>> backends;
    backends.push_back(cpu::make_backend());
    for (const std::uint16_t ordinal : {std::uint16_t{0}, other_gpu}) {
      backends.push_back(cuda::make_backend({.ordinal = ordinal, .peers = peers}));
    }
    pool p(std::move(backends), pool_options{});
    cudaStream_t there = nullptr;
    expect_success(cudaSetDevice(other_gpu));
    expect_success(cudaStreamCreateWithFlags(&there, cudaStreamNonBlocking));
    expect_success(cudaSetDevice(0));
    std::vector<device> kinds = {pooled, plain};
    if (p.try_allocate(kib, growable).has_value()) {
      kinds.push_back(growable);
    }
    for (const device from : kinds) {
      for (const device to : kinds) {
        SCOPED_TRACE(std::to_string(from.bits()) + " to " + std::to_string(to.bits()));
        const device far = device::cuda(other_gpu).with(to.memory());
        const tensor source = p.allocate(kib, from);
        const tensor target = p.allocate(kib, far);
        const tensor seen = p.allocate(kib, device::pinned(device::cuda(other_gpu)));
        ASSERT_TRUE(p.fill(source.id(), 0x2a).ok());
        ASSERT_TRUE(p.synchronise(from).ok());
        ASSERT_TRUE(p.copy({.dst = target.id(), .src = source.id()}).ok());
        ASSERT_TRUE(p.synchronise(far).ok());
        ASSERT_TRUE(
            p.copy({.dst = source.id(), .src = target.id(), .stream = cuda::stream(there)}).ok());
        expect_success(cudaStreamSynchronize(there));
        // Out of this GPU into host memory near the other one.
        ASSERT_TRUE(p.copy({.dst = seen.id(), .src = source.id()}).ok());
        ASSERT_TRUE(p.synchronise(from).ok());
        EXPECT_EQ(static_cast<const unsigned char*>(seen.data())[kib - 1], 0x2a);
      }
    }
    for (const device where : kinds) {
      (void)p.retire(device::cuda(other_gpu).with(where.memory()), cuda::stream(there));
    }
    p.close();
    expect_success(cudaStreamDestroy(there));
  }
}

TEST_F(CudaPeers, BadChoicesAreRefused) {
  using enum cuda::peer_access;
  EXPECT_EQ(code_of({.peers = these, .peer_ordinals = {0}}), errc::invalid_argument);
  EXPECT_EQ(code_of({.peers = these, .peer_ordinals = {1, 1}}),
            are_peers() ? errc::invalid_argument : errc::unsupported);
  EXPECT_EQ(code_of({.peers = these, .peer_ordinals = {700}}), errc::unknown_device);
  EXPECT_EQ(code_of({.peers = all, .peer_ordinals = {1}}), errc::invalid_argument);
  EXPECT_EQ(code_of({.peers = none, .peer_ordinals = {1}}), errc::invalid_argument);
  EXPECT_EQ(code_of({.peers = static_cast<cuda::peer_access>(9)}), errc::invalid_argument);
  EXPECT_EQ(code_of({.peers = these, .peer_ordinals = {1}}),
            are_peers() ? errc::ok : errc::unsupported);
  EXPECT_EQ(code_of({.peers = these}), errc::ok) << "nobody";
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(CudaPeers, APeerThatThePoolRefusesIsLeftOutAndNamed) {
  if (cudasim_is_present() == 0 || !are_peers() || cudasim_calls("cudaMemPoolCreate") == 0) {
    GTEST_SKIP() << "skipped, no GPU of the simulator with peers and pools";
  }
  cudasim_fail_call("cudaMemPoolSetAccess", 1, cudaErrorNotSupported, 0);
  open();
  cudasim_fail_no_call();
  EXPECT_NE(std::string(tested->devices().front().name).find("out of reach of cuda:1"),
            std::string::npos);
  for (const device where : {pooled, growable}) {
    if (serves(where)) {
      const block what = make(where, 3 * mib);
      EXPECT_EQ(kernel_of_other(what), cudaErrorIllegalAddress) << where.bits();
      give_back(where, what);
    }
  }
  end();
}

TEST_F(CudaPeers, APeerThatWasNamedAndIsRefusedIsAnError) {
  if (cudasim_is_present() == 0 || !are_peers() || cudasim_calls("cudaMemPoolCreate") == 0) {
    GTEST_SKIP() << "skipped, no GPU of the simulator with peers and pools";
  }
  for (const char* const call : {"cudaMemPoolSetAccess", "cudaDeviceCanAccessPeer"}) {
    cudasim_fail_call(call, 1, cudaErrorNotSupported, 0);
    const result<std::unique_ptr<backend>> made =
        cuda::try_make_backend({.peers = cuda::peer_access::these, .peer_ordinals = {1}});
    cudasim_fail_no_call();
    ASSERT_FALSE(made.has_value()) << call;
    EXPECT_EQ(made.error().code, errc::driver_error);
    EXPECT_EQ(made.error().native, static_cast<int>(cudaErrorNotSupported));
    EXPECT_NE(to_string(made.error()).find(call), std::string::npos) << to_string(made.error());
  }
}

TEST_F(CudaPeers, MappedMemoryThatPeersCannotGetIsGivenBack) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "skipped, no GPU of the simulator";
  }
  open();
  if (!serves(growable)) {
    GTEST_SKIP() << "no growable memory";
  }
  std::size_t free_before = 0;
  std::size_t free_after = 0;
  std::size_t total = 0;
  expect_success(cudaMemGetInfo(&free_before, &total));
  cudasim_fail_call("cuMemSetAccess", 1, cudaErrorNotSupported, 0);
  const result<block> made =
      tested->allocate_large({.where = growable, .bytes = 40 * mib, .alignment = 256});
  cudasim_fail_no_call();
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, errc::driver_error);
  if (are_peers()) {
    EXPECT_NE(to_string(made.error()).find("backend_options::peers"), std::string::npos);
  }
  expect_success(cudaMemGetInfo(&free_after, &total));
  EXPECT_EQ(free_after, free_before);
  EXPECT_EQ(host.claimed.load(), 0U);
  give_back(growable, make(growable, 40 * mib));
  end();
}

}  // namespace
}  // namespace tidepool::test
