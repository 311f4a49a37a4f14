// SPDX-License-Identifier: Apache-2.0
//
// Streams, graphs and data through the C interface, as far as host memory goes; null arguments and
// bad structs. Devices that order streams are tested in tests/core and tests/cuda.
#include "support.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

class CApiStreams : public c_api_pool {
 protected:
  const tidepool_stream none{};
  const tidepool_stream odd{nullptr, 77, 0};  // no such kind
  const tidepool_device gpu = tidepool_device_cuda(3);
};

TEST_F(CApiStreams, MeanNothingOnHostMemory) {
  tidepool_stream stream{&misuses, TIDEPOOL_STREAM_ORDINARY, 5};
  EXPECT_EQ(tidepool_attach(pool, cpu, &stream), TIDEPOOL_OK);
  EXPECT_EQ(stream.number, 0U);
  const tidepool_tensor t = allocate(100);
  EXPECT_EQ(tidepool_record_use(pool, t.id, stream), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_synchronise(pool, cpu, stream), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_retire(pool, cpu, stream), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_deallocate_on(pool, t.id, stream), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_record_use(pool, t.id, none), TIDEPOOL_STALE_ID);
  ASSERT_EQ(misuses.size(), 1U);
  EXPECT_EQ(misuses[0].kind, static_cast<std::uint32_t>(TIDEPOOL_MISUSE_STALE_USE));
}

TEST_F(CApiStreams, CopiesAndFills) {
  const tidepool_tensor from = allocate(200);
  const tidepool_tensor to = allocate(100);
  auto* const bytes = static_cast<unsigned char*>(to.data);
  ASSERT_EQ(tidepool_fill(pool, from.id, 0xab, none), TIDEPOOL_OK);
  ASSERT_EQ(tidepool_fill(pool, to.id, 0x01, none), TIDEPOOL_OK);
  auto request = sized<tidepool_copy_request>();
  request.dst = to.id;
  request.src = from.id;
  request.dst_offset = 10;
  request.src_offset = 150;
  ASSERT_EQ(tidepool_copy(pool, &request), TIDEPOOL_OK) << last_error();
  EXPECT_EQ(std::count(bytes, bytes + 100, 0xab), 50);
  EXPECT_EQ(bytes[10], 0xab);
  EXPECT_EQ(bytes[60], 0x01);
  request.src_offset = 0;  // all of src: too much
  EXPECT_EQ(tidepool_copy(pool, &request), TIDEPOOL_INVALID_ARGUMENT);
  request.bytes = 90;
  EXPECT_EQ(tidepool_copy(pool, &request), TIDEPOOL_OK);
  EXPECT_EQ(std::count(bytes, bytes + 100, 0xab), 90);
  free(from.id);
  free(to.id);
  EXPECT_EQ(tidepool_copy(pool, &request), TIDEPOOL_STALE_ID);
  EXPECT_EQ(tidepool_fill(pool, to.id, 0, none), TIDEPOOL_STALE_ID);
  EXPECT_EQ(misuses.size(), 2U);
}

TEST_F(CApiStreams, AnswerWhatHostMemoryCannotDo) {
  const tidepool_tensor t = allocate(100);
  EXPECT_EQ(tidepool_prefetch_to(pool, t.id, gpu, none), TIDEPOOL_UNSUPPORTED);
  auto advice = sized<tidepool_advice>();
  EXPECT_EQ(tidepool_advise(pool, t.id, &advice), TIDEPOOL_UNSUPPORTED);
  advice.what = TIDEPOOL_ADVICE_ACCESSED_BY + 1;
  EXPECT_EQ(tidepool_advise(pool, t.id, &advice), TIDEPOOL_INVALID_ARGUMENT);
  tidepool_graph_arena* arena = nullptr;
  EXPECT_EQ(tidepool_graph_arena_create(pool, cpu, &arena), TIDEPOOL_UNSUPPORTED);
  EXPECT_EQ(tidepool_graph_arena_create(pool, gpu, &arena), TIDEPOOL_UNKNOWN_DEVICE);
  EXPECT_EQ(arena, nullptr);
  EXPECT_EQ(tidepool_synchronise(pool, gpu, none), TIDEPOOL_UNKNOWN_DEVICE);
  free(t.id);
}

TEST_F(CApiStreams, RefuseBadArguments) {
  const tidepool_tensor t = allocate(100);
  tidepool_stream bad = odd;
  EXPECT_EQ(tidepool_attach(pool, cpu, &bad), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_attach(pool, cpu, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_attach(nullptr, cpu, &bad), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_retire(pool, cpu, odd), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_retire(nullptr, cpu, none), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_record_use(pool, t.id, odd), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_record_use(nullptr, t.id, none), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_synchronise(pool, cpu, odd), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_synchronise(nullptr, cpu, none), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_fill(pool, t.id, 0, odd), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_fill(nullptr, t.id, 0, none), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_prefetch_to(pool, t.id, cpu, odd), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_prefetch_to(nullptr, t.id, cpu, none), TIDEPOOL_INVALID_ARGUMENT);
  auto advice = sized<tidepool_advice>();
  EXPECT_EQ(tidepool_advise(nullptr, t.id, &advice), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_advise(pool, t.id, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  advice.size = 0;
  EXPECT_EQ(tidepool_advise(pool, t.id, &advice), TIDEPOOL_INVALID_ARGUMENT);
  auto request = sized<tidepool_copy_request>();
  request.dst = request.src = t.id;
  EXPECT_EQ(tidepool_copy(nullptr, &request), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_copy(pool, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  request.stream = odd;
  EXPECT_EQ(tidepool_copy(pool, &request), TIDEPOOL_INVALID_ARGUMENT);
  request.size = 12;
  EXPECT_EQ(tidepool_copy(pool, &request), TIDEPOOL_INVALID_ARGUMENT);
  tidepool_graph_arena* arena = nullptr;
  tidepool_capture* capture = nullptr;
  EXPECT_EQ(tidepool_graph_arena_create(nullptr, gpu, &arena), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_graph_arena_create(pool, gpu, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_capture_begin(nullptr, none, &capture), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_capture_begin(arena, none, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_graph_arena_destroy(nullptr, none), TIDEPOOL_OK);
  tidepool_capture_end(nullptr);
  EXPECT_EQ(tidepool_deallocate_on(pool, t.id, odd), TIDEPOOL_INVALID_ARGUMENT);
  free(t.id);
}

TEST_F(CApiStreams, DevicesOfOtherMemoryKindsArePlacesOfTheirOwn) {
  const tidepool_device plain = tidepool_device_with_memory(gpu, TIDEPOOL_MEMORY_PLAIN);
  EXPECT_NE(plain, gpu);
  EXPECT_EQ(tidepool_device_with_memory(plain, TIDEPOOL_MEMORY_POOLED), gpu);
  tidepool_tensor t{};
  EXPECT_EQ(tidepool_allocate(pool, 1, plain, nullptr, &t), TIDEPOOL_UNKNOWN_DEVICE);
  EXPECT_EQ(last_error(), "unknown device: 1 bytes on cuda:3/plain: no backend of this pool serves "
                          "the device");
  const tidepool_device never = tidepool_device_with_memory(gpu, 9);
  EXPECT_EQ(tidepool_allocate(pool, 1, never, nullptr, &t), TIDEPOOL_UNKNOWN_DEVICE);
  EXPECT_EQ(tidepool_allocate(pool, 1, 0xffffffff, nullptr, &t), TIDEPOOL_UNKNOWN_DEVICE);
}

}  // namespace
