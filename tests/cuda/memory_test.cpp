// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend beside streams: figures, giving back, kinds of memory, copies, capture, two
// GPUs, and what it must leave as it was.
#include "support.hpp"

#include <array>
#include <cstring>

namespace tidepool::test {
namespace {

TEST_F(CudaBackend, FiguresAddUp) {
  const test_stream a(*tested, 1);
  const block held = make_large(5 * mib, a.ref());
  memory_info now = memory();
  EXPECT_EQ(now.reserved_bytes, host.claimed.load());
  EXPECT_EQ(now.reserved_bytes - now.free_bytes, held.bytes);
  EXPECT_GE(now.address_space_bytes, now.reserved_bytes);
  EXPECT_GT(now.system_calls, 0U);
  fill(held, 1, a.get());
  give_back(held, a.ref());
  now = memory();
  EXPECT_EQ(now.free_bytes, now.reserved_bytes);
  EXPECT_EQ(now.pending_bytes, held.bytes);
  EXPECT_GE(now.largest_free_bytes, held.bytes);
  a.wait();
  (void)tested->decay(where);  // asks the stream
  EXPECT_EQ(memory().pending_bytes, 0U);
}

TEST_F(CudaBackend, ForeignMemoryIsWhatOthersTook) {
  const std::size_t before = memory().foreign_bytes;
  void* other = nullptr;
  expect_success(cudaMalloc(&other, 64 * mib));
  const block held = make_large(32 * mib, {});
  EXPECT_GE(memory().foreign_bytes, 64 * mib);
  if (has_gpu_alone()) {
    EXPECT_GE(memory().foreign_bytes, before + 64 * mib);
    EXPECT_LT(memory().foreign_bytes, before + 96 * mib);
  }
  give_back(held, {});
  expect_success(cudaFree(other));
}

TEST_F(CudaBackend, TrimWaitsForWhatIsPending) {
  const test_stream a(*tested, 1);
  const block held = make_large(8 * mib, a.ref());
  for (unsigned i = 0; i != 50; ++i) {
    fill(held, i, a.get());
  }
  give_back(held, a.ref());
  const std::size_t reserved = memory().reserved_bytes;
  EXPECT_EQ(tested->trim(where, 0), reserved);
}

TEST_F(CudaBackend, IdleSlabsDecay) {
  const test_stream a(*tested, 1);
  const block held = make_large(8 * mib, a.ref());
  give_back(held, a.ref());
  for (unsigned tick = 0; tick != 15; ++tick) {
    EXPECT_EQ(tested->decay(where), 0U);
    expect_success(cudaDeviceSynchronize());  // the event that the first one has left is done
  }
  std::size_t released = 0;
  for (unsigned tick = 0; tick != 4; ++tick) {
    released += tested->decay(where);
  }
  EXPECT_EQ(released, held.bytes);
  EXPECT_EQ(memory().reserved_bytes, 0U);
}

TEST_F(CudaBackend, SlabsGrowWithWhatIsReserved) {
  std::vector<block> held;
  const std::uint64_t before = calls_of("cudaMallocFromPoolAsync") + calls_of("cudaMalloc");
  for (unsigned i = 0; i != 320; ++i) {
    held.push_back(make_large(mib + 4 * kib, {}));
  }
  const std::uint64_t slabs = calls_of("cudaMallocFromPoolAsync") + calls_of("cudaMalloc") - before;
  EXPECT_LT(slabs, 320U / 2);
  const memory_info now = memory();
  EXPECT_LE(now.reserved_bytes, (now.reserved_bytes - now.free_bytes) * 5 / 4 + 4 * mib);
  tested->take_back(where, held, {});
}

TEST_F(CudaBackend, PlainMemoryIsCudaMallocMemory) {
  const device plain = where.with(memory_kind::plain);
  const std::uint64_t pooled = calls_of("cudaMallocFromPoolAsync");
  const result<block> made =
      tested->allocate_large({.where = plain, .bytes = 3 * mib, .alignment = 256});
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(calls_of("cudaMallocFromPoolAsync"), pooled);
  EXPECT_EQ(tested->memory(where).reserved_bytes, 0U);
  EXPECT_GE(tested->memory(plain).reserved_bytes, 3 * mib);
  tested->take_back(plain, {&*made, 1}, {});
  EXPECT_GE(tested->trim(plain, 0), 3 * mib);
}

TEST_F(CudaBackend, CopiesAndFillsAreInStreamOrder) {
  const test_stream a(*tested, 1);
  const block from = make_large(2 * mib, a.ref());
  const block to = make_large(2 * mib, a.ref());
  ASSERT_TRUE(tested->fill(where, from.data, 0x5a, from.bytes, a.ref()).ok());
  ASSERT_TRUE(tested->copy(where, to.data, from.data, from.bytes, a.ref()).ok());
  std::vector<unsigned char> seen(to.bytes);
  ASSERT_TRUE(tested->copy(where, seen.data(), to.data, to.bytes, a.ref()).ok());
  ASSERT_TRUE(tested->synchronise(where, a.ref()).ok());
  EXPECT_EQ(seen.front(), 0x5a);
  EXPECT_EQ(seen.back(), 0x5a);
  std::memset(seen.data(), 7, seen.size());
  ASSERT_TRUE(tested->copy(where, from.data, seen.data(), seen.size(), a.ref()).ok());
  std::memset(seen.data(), 0, seen.size());
  ASSERT_TRUE(tested->copy(where, seen.data(), from.data, seen.size(), a.ref()).ok());
  ASSERT_TRUE(tested->synchronise(where, a.ref()).ok());
  EXPECT_EQ(seen.front(), 7);
  EXPECT_TRUE(tested->copy(where, nullptr, nullptr, 0, a.ref()).ok());
  EXPECT_TRUE(tested->fill(where, nullptr, 0, 0, a.ref()).ok());
  EXPECT_EQ(tested->copy(device::cuda(77), to.data, from.data, 1, a.ref()).code,
            errc::unknown_device);
  give_back(from, a.ref());
  give_back(to, a.ref());
}

TEST_F(CudaBackend, ACapturedStreamGetsMemoryForCapturesOnly) {
  const test_stream a(*tested, 1);
  const test_stream b(*tested, 2);
  const block pending = make_large(4 * mib, a.ref());
  fill(pending, 1, a.get());
  give_back(pending, a.ref());
  const memory_info before = memory();
  expect_success(cudaStreamBeginCapture(a.get(), cudaStreamCaptureModeGlobal));
  EXPECT_EQ(tested->allocate_large(ask(8 * mib, a.ref())).error().code, errc::stream_captures);
  // What is free in its own order needs no question, and nobody notices the capture.
  std::array<block, 3> small = {};
  EXPECT_EQ(tested->refill(ask(4 * kib, a.ref()), small).count, small.size());
  tested->take_back(where, small, a.ref());
  std::array<block, 60> many = {};
  const backend::refill_result refused = tested->refill(ask(128 * kib, a.ref()), many);
  EXPECT_LT(refused.count, many.size());
  EXPECT_EQ(refused.why.code, errc::stream_captures);
  tested->take_back(where, std::span(many).first(refused.count), a.ref());
  EXPECT_EQ(tested->order(where, a.ref(), b.ref()).code, errc::stream_captures);
  EXPECT_EQ(memory().reserved_bytes, before.reserved_bytes);
  EXPECT_EQ(memory().free_bytes, before.free_bytes);

  block_request request = ask(4 * mib, a.ref());
  request.for_capture = true;
  const result<block> large = tested->allocate_large(request);
  ASSERT_TRUE(large.has_value()) << to_string(large.error());
  EXPECT_NE(large->data, pending.data);
  request.bytes = 4 * kib;
  ASSERT_EQ(tested->refill(request, small).count, small.size());
  // Others go on meanwhile; what the captured stream freed cannot be recorded now.
  const block other = make_large(4 * mib, b.ref());
  EXPECT_NE(other.data, pending.data);
  fill(other, 2, b.get());
  give_back(other, b.ref());

  fill(*large, 5, a.get());
  cudaGraph_t graph = nullptr;
  expect_success(cudaStreamEndCapture(a.get(), &graph));
  std::size_t nodes = 0;
  expect_success(cudaGraphGetNodes(graph, nullptr, &nodes));
  EXPECT_EQ(nodes, 2U);  // the fill's two kernels, nothing of ours
  expect_success(cudaGraphDestroy(graph));
  give_back(*large, a.ref());
  tested->take_back(where, small, a.ref());
}

TEST_F(CudaBackend, TheCurrentDeviceAndTheLastErrorStayAsTheyWere) {
  int count = 0;
  expect_success(cudaGetDeviceCount(&count));
  expect_success(cudaSetDevice(count - 1));
  const block held = make_large(4 * mib, {});
  EXPECT_FALSE(tested->allocate_large(ask(std::size_t{1} << 41, {})).has_value());
  give_back(held, {});
  (void)tested->trim(where, 0);
  int now = -1;
  expect_success(cudaGetDevice(&now));
  EXPECT_EQ(now, count - 1);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  expect_success(cudaSetDevice(0));
}

TEST_F(CudaBackend, TwoDevicesEachHaveTheirOwn) {
  int count = 0;
  expect_success(cudaGetDeviceCount(&count));
  if (count < 2) {
    GTEST_SKIP() << "one GPU";
  }
  budget other_host;
  const std::unique_ptr<backend> other = cuda::make_backend({.ordinal = 1});
  other->attach(other_host);
  const device there = device::cuda(1);
  expect_success(cudaSetDevice(1));
  cudaStream_t stream = nullptr;
  expect_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const stream_ref ref = cuda::stream(stream);
  const result<block> far =
      other->allocate_large({.where = there, .bytes = 2 * mib, .alignment = 256, .stream = ref});
  ASSERT_TRUE(far.has_value());
  fill(*far, 0x01010101, stream);
  expect_success(cudaSetDevice(0));
  const block near = make_large(2 * mib, {});
  expect_success(cudaStreamSynchronize(stream));
  ASSERT_TRUE(tested->copy(where, near.data, far->data, 4096, {}).ok());
  std::array<unsigned char, 4096> seen = {};
  ASSERT_TRUE(tested->copy(where, seen.data(), near.data, seen.size(), {}).ok());
  ASSERT_TRUE(tested->synchronise(where, {}).ok());
  EXPECT_EQ(seen.front(), 1);
  EXPECT_EQ(seen.back(), 1);
  give_back(near, {});
  other->take_back(there, {&*far, 1}, ref);
  other->retire(there, ref);
  expect_success(cudaStreamDestroy(stream));
  EXPECT_EQ(other->verify(), nullptr);
  EXPECT_GE(other->trim(there, 0), 2 * mib);
  EXPECT_EQ(other->refill({.where = where, .bytes = 4096}, {}).why.code, errc::unknown_device);
}

TEST_F(CudaBackend, BadRequestsAreRefused) {
  const auto code_of = [&](std::size_t bytes, std::size_t alignment) {
    return tested->allocate_large({.where = where, .bytes = bytes, .alignment = alignment})
        .error()
        .code;
  };
  EXPECT_EQ(code_of(0, 256), errc::invalid_argument);
  EXPECT_EQ(code_of(4096, 3), errc::invalid_argument);
  EXPECT_EQ(code_of(4096, std::size_t{1} << 31), errc::invalid_argument);
  EXPECT_EQ(code_of(std::size_t{1} << 43, 256), errc::out_of_memory);
  std::array<block, 1> one = {};
  EXPECT_EQ(tested->refill(ask(5000, {}), one).why.code, errc::invalid_argument);
  EXPECT_EQ(tested->refill(ask(2 * mib, {}), one).why.code, errc::invalid_argument);
  EXPECT_EQ(tested->trim(device::cuda(77), 0), 0U);
  EXPECT_EQ(tested->memory(device::cuda(77)).reserved_bytes, 0U);
}

// Blocks out at the end of a process are no reason to wait for anybody.
TEST_F(CudaBackend, AllGoesWithTheBackend) {
  const block large = make_large(4 * mib, {});
  std::array<block, 9> small = {};
  ASSERT_EQ(tested->refill(ask(1024, {}), small).count, small.size());
  fill(large, 1, cudaStreamLegacy);
  end_foreign_captures();  // with blocks out, the end waits for the whole device
  tested.reset();
  EXPECT_EQ(host.claimed.load(), 0U);
}

}  // namespace
}  // namespace tidepool::test
