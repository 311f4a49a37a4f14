// SPDX-License-Identifier: Apache-2.0
//
// Programs that a toolkit never makes: no PTX, damaged binaries, PTX of another version, kernels
// that are not there; and null pointers, foreign pointers and invented handles for every kind of
// call. Each has its error, or a report that names the cause.
#include <cuda_runtime.h>
#include <cudasim.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

extern "C" {
void** __cudaRegisterFatBinary(void* wrapper);
void __cudaRegisterFunction(void** binary, const char* host_function, char* device_function,
                            const char* name, int thread_limit, uint3* thread, uint3* block,
                            dim3* block_size, dim3* grid_size, int* warp_size);
void __cudaUnregisterFatBinary(void** binary);
}

namespace {

// One entry in a fat binary, as nvcc lays it out.
struct image {
  std::uint32_t magic = 0xBA55ED50;
  std::uint16_t version = 1;
  std::uint16_t header = 16;
  std::uint64_t body = 64 + 512;
  std::uint16_t kind = 1;  // PTX
  std::uint16_t entry_version = 0;
  std::uint32_t entry_header = 64;
  std::uint64_t payload = 512;
  std::uint32_t rest[3] = {};
  std::uint32_t architecture = 80;
  std::uint32_t name[2] = {};
  std::uint64_t flags = 0x11;
  std::uint64_t zero = 0;
  std::uint64_t uncompressed = 0;
  char text[512] = "";
};
struct wrapper {
  std::uint32_t magic = 0x466243B1;
  std::uint32_t version = 1;
  const void* data = nullptr;
  const void* extra = nullptr;
};

image with_text(const std::string& text) {
  image made;
  std::strncpy(made.text, text.c_str(), sizeof made.text - 1);
  return made;
}
const std::string good_head = ".version 9.0\n.target sm_80\n.address_size 64\n";
const std::string good_text = good_head + ".visible .entry kernel() {\nret;\n}\n";

class BadInput : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cudasim_is_present()) {
      GTEST_SKIP() << "a driver says less";
    }
    cudasim_set_quiet(1);
  }
  void TearDown() override {
    if (cudasim_is_present()) {
      cudasim_set_quiet(0);
      cudaGetLastError();
    }
  }
  static std::string report() {
    char text[4096] = "";
    cudasim_latest_report(text, sizeof text);
    return text;
  }
  // What a launch of `kernel` of this binary answers.
  // linked_from: null, or the images that it was linked from.
  static cudaError_t launch(const image& of, const void** linked_from = nullptr) {
    static char host_functions[64];
    static std::size_t next = 0;
    wrapper outer;
    outer.data = &of;
    outer.version = linked_from == nullptr ? 1 : 2;
    outer.extra = linked_from;
    void** const binary = __cudaRegisterFatBinary(&outer);
    char* const host_function = host_functions + next++;
    char name[] = "kernel";
    __cudaRegisterFunction(binary, host_function, name, name, -1, nullptr, nullptr, nullptr,
                           nullptr, nullptr);
    cudaError_t error = cudaLaunchKernel(host_function, 1, 1, nullptr, 0, nullptr);
    if (error == cudaSuccess) {
      error = cudaDeviceSynchronize();
    }
    __cudaUnregisterFatBinary(binary);
    return error;
  }
  static void expect_report(const image& of, cudaError_t error, const std::string& cause) {
    EXPECT_EQ(launch(of), error);
    EXPECT_EQ(cudasim_take_reports(CUDASIM_UNSUPPORTED), 1u);
    EXPECT_NE(report().find(cause), std::string::npos) << report();
    void* p = nullptr;
    EXPECT_EQ(cudaMalloc(&p, 16), cudaSuccess) << "the device goes on";
    EXPECT_EQ(cudaFree(p), cudaSuccess);
  }
};

TEST_F(BadInput, AGoodBinaryRuns) {
  EXPECT_EQ(launch(with_text(good_text)), cudaSuccess);
}

TEST_F(BadInput, ABinaryWithoutPtxSaysSo) {
  image machine_code = with_text(good_text);
  machine_code.kind = 2;
  expect_report(machine_code, cudaErrorNoKernelImageForDevice, "without PTX for sm_80");
  image newer = with_text(good_text);
  newer.architecture = 90;
  expect_report(newer, cudaErrorNoKernelImageForDevice, "without PTX for sm_80");
}

// As nvcc -rdc=true lays it out: the wrapper has linked machine code, and lists what it came from.
TEST_F(BadInput, LinkedDeviceCodeRunsIfOneSourceHasAll) {
  image linked = with_text(good_text);
  linked.kind = 2;
  const image library = linked;
  const image source = with_text(good_text);
  const image other = with_text(good_head);
  const void* one[] = {&source, &library, nullptr};
  EXPECT_EQ(launch(linked, one), cudaSuccess);
  const void* several[] = {&library, &source, &other, nullptr};
  EXPECT_EQ(launch(linked, several), cudaErrorInvalidPtx);
  EXPECT_EQ(cudasim_take_reports(CUDASIM_UNSUPPORTED), 1u);
  EXPECT_NE(report().find("-rdc=true"), std::string::npos) << report();
}

TEST_F(BadInput, DamageSaysWhatItIs) {
  image no_magic = with_text(good_text);
  no_magic.magic = 7;
  expect_report(no_magic, cudaErrorInvalidPtx, "no image here");
  image cut = with_text(good_text);
  cut.body = 32;
  expect_report(cut, cudaErrorInvalidPtx, "32 bytes where an entry's header should be");
  image compressed = with_text(good_text);
  compressed.flags = 0x8000;
  compressed.uncompressed = 4096;
  expect_report(compressed, cudaErrorInvalidPtx, "zstd says");
  expect_report(with_text(good_head + ".visible .entry kernel() {\nret;"), cudaErrorInvalidPtx,
                "without an end");
}

TEST_F(BadInput, AnUnknownVersionSaysSo) {
  expect_report(with_text(".version 77.0\n.target sm_80\n.address_size 64\n"), cudaErrorInvalidPtx,
                "PTX version 77.0");
}

TEST_F(BadInput, AKernelThatIsNotThereIsRefused) {
  EXPECT_EQ(launch(with_text(good_head + ".visible .entry other() {\nret;\n}\n")),
            cudaErrorInvalidDeviceFunction);
  EXPECT_EQ(cudaLaunchKernel(nullptr, 1, 1, nullptr, 0, nullptr), cudaErrorInvalidDeviceFunction);
  cudaFuncAttributes attributes;
  EXPECT_EQ(cudaFuncGetAttributes(&attributes, nullptr), cudaErrorInvalidDeviceFunction);
  std::size_t bytes = 0;
  EXPECT_EQ(cudaGetSymbolSize(&bytes, nullptr), cudaErrorInvalidSymbol);
}

TEST_F(BadInput, AnUnknownInstructionFaultsWhereItStands) {
  EXPECT_EQ(launch(with_text(good_head + ".visible .entry kernel() {\nwgmma.fence.sync;\n}\n")),
            cudaErrorNotSupported);
  EXPECT_EQ(cudasim_take_reports(CUDASIM_UNSUPPORTED), 1u);
  EXPECT_NE(report().find("wgmma.fence.sync"), std::string::npos) << report();
  cudasim_clear_error();
}

TEST_F(BadInput, AbsurdLaunchesAreRefused) {
  static const image good = with_text(good_text);
  static wrapper outer;
  outer.data = &good;
  void** const binary = __cudaRegisterFatBinary(&outer);
  static char host_function;
  char name[] = "kernel";
  __cudaRegisterFunction(binary, &host_function, name, name, -1, nullptr, nullptr, nullptr, nullptr,
                         nullptr);
  const auto answer = [&](dim3 grid, dim3 block, std::size_t shared = 0) {
    return cudaLaunchKernel(&host_function, grid, block, nullptr, shared, nullptr);
  };
  constexpr unsigned most = ~0u;
  for (const dim3& bad :
       {dim3(0), dim3(1, 0), dim3(1, 1, 0), dim3(most), dim3(1, 65536), dim3(1, 1, 65536)}) {
    EXPECT_EQ(answer(bad, 1), cudaErrorInvalidConfiguration) << bad.x << ' ' << bad.y;
  }
  for (const dim3& bad :
       {dim3(0), dim3(1, 0), dim3(1025), dim3(33, 32), dim3(1, 1, 65), dim3(most, most, most)}) {
    EXPECT_EQ(answer(1, bad), cudaErrorInvalidConfiguration) << bad.x << ' ' << bad.y;
  }
  EXPECT_EQ(answer(1, 1, ~std::size_t{0}), cudaErrorInvalidValue);
  EXPECT_EQ(cudaLaunchCooperativeKernel(&host_function, 1u << 20, 1, nullptr, 0, nullptr),
            cudaErrorCooperativeLaunchTooLarge);
  EXPECT_EQ(cudaLaunchKernelExC(nullptr, &host_function, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(answer(1, 1), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

// One that no call has made.
template <class Handle>
Handle invented() {
  static char nothing[64];
  return reinterpret_cast<Handle>(nothing);
}

TEST_F(BadInput, NullPointersAreRefused) {
  void* p = nullptr;
  std::size_t bytes = 0;
  const std::function<cudaError_t()> calls[] = {
      [&] { return cudaMalloc(static_cast<void**>(nullptr), 16); },
      [&] { return cudaMallocHost(static_cast<void**>(nullptr), 16); },
      [&] { return cudaMallocManaged(static_cast<void**>(nullptr), 16); },
      [&] { return cudaMallocAsync(static_cast<void**>(nullptr), 16, nullptr); },
      [&] { return cudaMallocPitch(&p, nullptr, 16, 16); },
      [&] { return cudaMemcpy(nullptr, &bytes, 8, cudaMemcpyDefault); },
      [&] { return cudaMemcpy(&bytes, nullptr, 8, cudaMemcpyDefault); },
      [&] { return cudaMemset(nullptr, 0, 8); },
      [&] { return cudaMemGetInfo(nullptr, &bytes); },
      [&] { return cudaMemGetInfo(&bytes, nullptr); },
      [&] { return cudaStreamCreate(nullptr); },
      [&] { return cudaEventCreate(static_cast<cudaEvent_t*>(nullptr)); },
      [&] { return cudaGetDevice(nullptr); },
      [&] { return cudaGetDeviceCount(nullptr); },
      [&] { return cudaGetDeviceProperties(nullptr, 0); },
      [&] { return cudaMemPoolCreate(nullptr, nullptr); },
      [&] { return cudaDeviceGetDefaultMemPool(nullptr, 0); },
      [&] { return cudaMemPoolGetAttribute(nullptr, cudaMemPoolAttrUsedMemHigh, &bytes); },
      [&] { return cudaPointerGetAttributes(nullptr, &bytes); },
      [&] { return cudaStreamGetId(nullptr, nullptr); },
      [&] { return cudaDriverGetVersion(nullptr); },
      [&] { return cudaRuntimeGetVersion(nullptr); },
      [&] { return cudaGraphCreate(nullptr, 0); },
      [&] { return cudaGraphDestroy(nullptr); },
      [&] { return cudaGraphExecDestroy(nullptr); },
  };
  for (const auto& each : calls) {
    EXPECT_EQ(each(), cudaErrorInvalidValue) << &each - calls;
    EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue) << &each - calls;
  }
  EXPECT_EQ(cudaStreamDestroy(nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventDestroy(nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(nullptr, nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudasim_untaken_reports(), 0u) << report();
}

TEST_F(BadInput, InventedHandlesAreRefused) {
  const auto stream = invented<cudaStream_t>();
  const auto event = invented<cudaEvent_t>();
  const auto pool = invented<cudaMemPool_t>();
  void* p = nullptr;
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaMallocAsync(&p, 16, stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventSynchronize(event), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamWaitEvent(nullptr, event, 0), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaMallocFromPoolAsync(&p, 16, pool, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemPoolDestroy(pool), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGraphLaunch(invented<cudaGraphExec_t>(), nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(p, nullptr);
}

TEST_F(BadInput, ForeignPointersAreRefused) {
  int local = 0;
  static int global = 0;
  auto* const heap = new int(0);
  for (void* const each : {static_cast<void*>(&local), static_cast<void*>(&global),
                           static_cast<void*>(heap), reinterpret_cast<void*>(8)}) {
    EXPECT_EQ(cudaFree(each), cudaErrorInvalidValue);
    EXPECT_EQ(cudaFreeHost(each), cudaErrorInvalidValue);
    EXPECT_EQ(cudaFreeAsync(each, nullptr), cudaErrorInvalidValue);
    EXPECT_EQ(cudaHostUnregister(each), cudaErrorHostMemoryNotRegistered);
    EXPECT_EQ(cudaMemset(each, 0, 4), cudaErrorInvalidValue);
    cudaPointerAttributes attributes;
    EXPECT_EQ(cudaPointerGetAttributes(&attributes, each), cudaSuccess);
    EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
  }
  delete heap;
}

}  // namespace
