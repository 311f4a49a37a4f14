// SPDX-License-Identifier: Apache-2.0
//
// Tensors through the C interface: allocation, references, parts, knowledge, errors.
#include "support.hpp"

#include <algorithm>
#include <array>

namespace {

class CApiTensor : public c_api_pool {};

TEST_F(CApiTensor, MemoryIsAlignedUsableAndFreeAgain) {
  for (const std::size_t bytes : {1U, 64U, 1000U, 70000U, 3000000U}) {
    const tidepool_tensor made = allocate(bytes);
    ASSERT_NE(made.data, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made.data) % 64, 0U);
    std::memset(made.data, 0x5a, bytes);
    EXPECT_EQ(info(made.id).bytes, bytes);
    free(made.id);
  }
  EXPECT_EQ(statistics().live, 0U);
  EXPECT_EQ(statistics().allocations, 5U);
}

TEST_F(CApiTensor, ZeroBytesIsATensorAndIdZeroIsIgnored) {
  const tidepool_tensor made = allocate(0);
  EXPECT_NE(made.id, 0U);
  EXPECT_EQ(made.data, nullptr);
  free(made.id);
  EXPECT_EQ(tidepool_deallocate(pool, 0), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_deallocate_on(pool, 0, {}), TIDEPOOL_OK);
  EXPECT_TRUE(misuses.empty());
}

TEST_F(CApiTensor, OptionsReachTheRecord) {
  auto options = sized<tidepool_allocation_options>();
  options.key = 42;
  options.alignment = 8192;
  options.category = TIDEPOOL_CATEGORY_KV_CACHE;
  options.lifecycle = TIDEPOOL_LIFECYCLE_INACTIVE;
  options.movable = 1;
  options.tracked = 1;
  ASSERT_EQ(tidepool_intern(pool, "kv.7", &options.name), TIDEPOOL_OK);
  const tidepool_tensor made = allocate(1000, &options);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made.data) % 8192, 0U);
  const tidepool_tensor_info about = info(made.id);
  EXPECT_EQ(about.id, made.id);
  EXPECT_EQ(about.data, made.data);
  EXPECT_EQ(about.bytes, 1000U);
  EXPECT_GE(about.capacity, 1000U);
  EXPECT_EQ(about.key, 42U);
  EXPECT_EQ(about.parent, 0U);
  EXPECT_EQ(about.where, cpu);
  EXPECT_EQ(about.name, options.name);
  EXPECT_EQ(about.references, 1U);
  EXPECT_EQ(about.category, TIDEPOOL_CATEGORY_KV_CACHE);
  EXPECT_EQ(about.lifecycle, TIDEPOOL_LIFECYCLE_INACTIVE);
  EXPECT_EQ(about.flags, TIDEPOOL_FLAG_MOVABLE | TIDEPOOL_FLAG_TRACKED | TIDEPOOL_FLAG_KEYED);
  free(made.id);
}

TEST_F(CApiTensor, TheCategoryDecidesTheLifecycle) {
  auto options = sized<tidepool_allocation_options>();
  const tidepool_tensor temporary = allocate(8, &options);
  options.category = TIDEPOOL_CATEGORY_WEIGHT;
  const tidepool_tensor weight = allocate(8, &options);
  options.lifecycle = TIDEPOOL_LIFECYCLE_TEMPORARY;
  const tidepool_tensor asked = allocate(8, &options);
  EXPECT_EQ(info(temporary.id).lifecycle, TIDEPOOL_LIFECYCLE_TEMPORARY);
  EXPECT_EQ(info(weight.id).lifecycle, TIDEPOOL_LIFECYCLE_PERSISTENT);
  EXPECT_EQ(info(asked.id).lifecycle, TIDEPOOL_LIFECYCLE_TEMPORARY);
  for (const tidepool_tensor& one : {temporary, weight, asked}) {
    free(one.id);
  }
}

TEST_F(CApiTensor, ImpossibleRequestsAreRefused) {
  tidepool_tensor out{&out, 1};
  EXPECT_EQ(tidepool_allocate(pool, 8, tidepool_device_cuda(0), nullptr, &out),
            TIDEPOOL_UNKNOWN_DEVICE);
  EXPECT_TRUE(out.data == nullptr && out.id == 0);
  EXPECT_NE(last_error().find("cuda:0"), std::string::npos) << last_error();
  EXPECT_EQ(tidepool_allocate(pool, 8, tidepool_device_cuda(-1), nullptr, &out),
            TIDEPOOL_UNKNOWN_DEVICE);
  EXPECT_EQ(tidepool_allocate(pool, SIZE_MAX, cpu, nullptr, &out), TIDEPOOL_OUT_OF_MEMORY);
  const auto refused = [&](auto change) {
    auto options = sized<tidepool_allocation_options>();
    change(options);
    out = {&out, 1};
    EXPECT_EQ(tidepool_allocate(pool, 8, cpu, &options, &out), TIDEPOOL_INVALID_ARGUMENT);
    EXPECT_TRUE(out.data == nullptr && out.id == 0);
  };
  refused([](auto& o) { o.alignment = 3; });
  refused([](auto& o) { o.alignment = SIZE_MAX; });
  refused([](auto& o) { o.category = 200; });
  refused([](auto& o) { o.lifecycle = TIDEPOOL_LIFECYCLE_EVICTED + 1; });
  refused([](auto& o) { o.lifecycle = 255; });
  refused([](auto& o) { o.stream.kind = TIDEPOOL_STREAM_PER_THREAD + 1; });
  refused([](auto& o) { o.stream.kind = 256 + TIDEPOOL_STREAM_ORDINARY; });
  refused([](auto& o) {
    o.name = 999;
    o.key = 1;
  });
}

TEST_F(CApiTensor, ManyAtOnceAllOrNone) {
  std::array<tidepool_tensor, 100> made{};
  ASSERT_EQ(tidepool_allocate_n(pool, 256, cpu, nullptr, made.data(), made.size()), TIDEPOOL_OK);
  std::vector<tidepool_tensor_id> ids;
  for (const tidepool_tensor& one : made) {
    ids.push_back(one.id);
    std::memset(one.data, 1, 256);
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
  EXPECT_EQ(statistics().live, made.size());
  ids.push_back(made[0].id);  // twice: the first error is answered, the others are freed
  ids.insert(ids.begin(), 1);
  EXPECT_EQ(tidepool_deallocate_n(pool, ids.data(), ids.size()), TIDEPOOL_STALE_ID);
  EXPECT_EQ(misuses.size(), 2U);
  EXPECT_EQ(statistics().live, 0U);

  auto options = sized<tidepool_allocation_options>();
  options.key = 5;
  EXPECT_EQ(tidepool_allocate_n(pool, 8, cpu, &options, made.data(), 2), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_allocate_n(pool, 8, cpu, &options, made.data(), 1), TIDEPOOL_OK);
  free(made[0].id);
}

TEST_F(CApiTensor, AFailureHalfWayLeavesNothing) {
  auto options = sized<tidepool_pool_options>();
  options.limit_bytes = std::size_t{16} << 20;
  tidepool_pool* const small = make(&options);
  std::array<tidepool_tensor, 8> made{};
  made.fill({this, 1});
  EXPECT_EQ(tidepool_allocate_n(small, 4 << 20, cpu, nullptr, made.data(), made.size()),
            TIDEPOOL_OVER_BUDGET);
  for (const tidepool_tensor& one : made) {
    EXPECT_TRUE(one.data == nullptr && one.id == 0);
  }
  std::size_t live = 1;
  EXPECT_EQ(tidepool_pool_close(small, &live), TIDEPOOL_OK);
  EXPECT_EQ(live, 0U);
  tidepool_pool_destroy(small);
}

TEST_F(CApiTensor, ReferencesKeepATensor) {
  const tidepool_tensor made = allocate(64);
  EXPECT_EQ(tidepool_retain(pool, made.id), TIDEPOOL_OK);
  EXPECT_EQ(info(made.id).references, 2U);
  EXPECT_EQ(tidepool_release(pool, made.id), TIDEPOOL_OK);
  EXPECT_EQ(info(made.id).references, 1U);
  EXPECT_EQ(tidepool_deallocate_on(pool, made.id, {}), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_retain(pool, made.id), TIDEPOOL_STALE_ID);
  EXPECT_EQ(tidepool_deallocate_on(pool, made.id, {nullptr, 9, 0}), TIDEPOOL_INVALID_ARGUMENT);
  ASSERT_EQ(misuses.size(), 1U);
  EXPECT_EQ(misuses[0].kind, std::uint32_t{TIDEPOOL_MISUSE_STALE_USE});
}

TEST_F(CApiTensor, ASliceSharesTheBlockAndOutlivesItsParent) {
  const tidepool_tensor whole = allocate(1000);
  tidepool_tensor part{};
  ASSERT_EQ(tidepool_slice(pool, whole.id, 100, 900, &part), TIDEPOOL_OK);
  EXPECT_EQ(part.data, static_cast<std::byte*>(whole.data) + 100);
  EXPECT_EQ(info(part.id).parent, whole.id);
  EXPECT_EQ(info(part.id).flags & TIDEPOOL_FLAG_SLICE, TIDEPOOL_FLAG_SLICE);
  free(whole.id);
  std::memset(part.data, 3, 900);
  tidepool_tensor beyond{this, 1};
  EXPECT_EQ(tidepool_slice(pool, part.id, 1, 900, &beyond), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_TRUE(beyond.data == nullptr && beyond.id == 0);
  EXPECT_EQ(tidepool_slice(pool, part.id, SIZE_MAX, 2, &beyond), TIDEPOOL_INVALID_ARGUMENT);
  free(part.id);
  EXPECT_EQ(tidepool_slice(pool, part.id, 0, 1, &beyond), TIDEPOOL_STALE_ID);
}

TEST_F(CApiTensor, StatisticsCountTensorsWithoutABlockToo) {
  const tidepool_tensor whole = allocate(100);
  const tidepool_tensor empty = allocate(0);
  tidepool_tensor part{};
  ASSERT_EQ(tidepool_slice(pool, whole.id, 10, 10, &part), TIDEPOOL_OK);
  EXPECT_EQ(statistics().live, 3U);
  EXPECT_EQ(statistics().live_without_block, 2U);
  free(part.id);
  free(empty.id);
  EXPECT_EQ(statistics().live, 1U);
  free(whole.id);
}

TEST_F(CApiTensor, PinsAreCountedAndMatched) {
  auto options = sized<tidepool_allocation_options>();
  options.movable = 1;
  const tidepool_tensor made = allocate(64, &options);
  void* data = nullptr;
  ASSERT_EQ(tidepool_pin(pool, made.id, &data), TIDEPOOL_OK);
  EXPECT_EQ(data, made.data);
  EXPECT_EQ(info(made.id).pins, 1U);
  EXPECT_NE(info(made.id).flags & TIDEPOOL_FLAG_PINNED_IN_PLACE, 0);
  EXPECT_EQ(tidepool_unpin(pool, made.id), TIDEPOOL_OK);
  EXPECT_EQ(info(made.id).flags & TIDEPOOL_FLAG_PINNED_IN_PLACE, 0);
  EXPECT_EQ(tidepool_unpin(pool, made.id), TIDEPOOL_INVALID_ARGUMENT);
  free(made.id);
  EXPECT_EQ(tidepool_pin(pool, made.id, &data), TIDEPOOL_STALE_ID);
  EXPECT_EQ(data, nullptr);
  EXPECT_EQ(tidepool_unpin(pool, made.id), TIDEPOOL_STALE_ID);
}

TEST_F(CApiTensor, ResizingWithinTheBlockKeepsTheData) {
  const tidepool_tensor made = allocate(1000);
  std::memset(made.data, 9, 1000);
  EXPECT_EQ(tidepool_resize(pool, made.id, 500), TIDEPOOL_OK);
  EXPECT_EQ(info(made.id).bytes, 500U);
  EXPECT_EQ(tidepool_resize(pool, made.id, info(made.id).capacity), TIDEPOOL_OK);
  EXPECT_EQ(static_cast<unsigned char*>(made.data)[999], 9);
  EXPECT_EQ(tidepool_resize(pool, made.id, 0), TIDEPOOL_UNSUPPORTED);
  free(made.id);
  EXPECT_EQ(tidepool_resize(pool, made.id, 10), TIDEPOOL_STALE_ID);
}

TEST_F(CApiTensor, TensorsAreFoundByAddressAndKey) {
  auto options = sized<tidepool_allocation_options>();
  options.key = 77;
  const tidepool_tensor made = allocate(5000, &options);
  tidepool_tensor_id found = 1;
  EXPECT_EQ(tidepool_find(pool, made.data, &found), TIDEPOOL_OK);
  EXPECT_EQ(found, made.id);
  EXPECT_EQ(tidepool_find_key(pool, 77, &found), TIDEPOOL_OK);
  EXPECT_EQ(found, made.id);
  tidepool_tensor second{};
  EXPECT_EQ(tidepool_allocate(pool, 8, cpu, &options, &second), TIDEPOOL_KEY_IN_USE);
  free(made.id);
  EXPECT_EQ(tidepool_find(pool, made.data, &found), TIDEPOOL_NOT_FOUND);
  EXPECT_EQ(found, 0U);
  found = 1;
  EXPECT_EQ(tidepool_find_key(pool, 77, &found), TIDEPOOL_NOT_FOUND);
  EXPECT_EQ(found, 0U);
}

TEST_F(CApiTensor, KnowledgeCanBeChanged) {
  const tidepool_tensor made = allocate(64);
  tidepool_name name = 0;
  tidepool_name again = 0;
  ASSERT_EQ(tidepool_intern(pool, "router", &name), TIDEPOOL_OK);
  ASSERT_EQ(tidepool_intern(pool, "router", &again), TIDEPOOL_OK);
  EXPECT_EQ(name, again);
  EXPECT_STREQ(tidepool_name_text(pool, name), "router");
  EXPECT_STREQ(tidepool_name_text(pool, name + 1), "");
  EXPECT_STREQ(tidepool_name_text(pool, 0), "");
  tidepool_category experts = 0;
  ASSERT_EQ(tidepool_register_category(pool, "cold experts", 3, &experts), TIDEPOOL_OK);
  EXPECT_GE(experts, 16);
  EXPECT_STREQ(tidepool_category_name(pool, experts), "cold experts");
  EXPECT_EQ(tidepool_eviction_priority(pool, experts), 3);
  EXPECT_STREQ(tidepool_category_name(pool, TIDEPOOL_CATEGORY_WEIGHT), "weight");
  EXPECT_STREQ(tidepool_category_name(pool, 200), "");
  EXPECT_EQ(tidepool_eviction_priority(pool, 200), 0);

  EXPECT_EQ(tidepool_set_name(pool, made.id, name), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_set_category(pool, made.id, experts), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_set_lifecycle(pool, made.id, TIDEPOOL_LIFECYCLE_INACTIVE), TIDEPOOL_OK);
  EXPECT_EQ(info(made.id).name, name);
  EXPECT_EQ(info(made.id).category, experts);
  EXPECT_EQ(info(made.id).lifecycle, TIDEPOOL_LIFECYCLE_INACTIVE);
  EXPECT_EQ(tidepool_set_name(pool, made.id, name + 1), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_set_category(pool, made.id, 200), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_set_lifecycle(pool, made.id, TIDEPOOL_LIFECYCLE_AUTOMATIC),
            TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_set_lifecycle(pool, made.id, TIDEPOOL_LIFECYCLE_EVICTED + 1),
            TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(info(made.id).category, experts) << "a refused change changed something";
  free(made.id);
  EXPECT_EQ(tidepool_set_name(pool, made.id, name), TIDEPOOL_STALE_ID);
  EXPECT_EQ(tidepool_set_category(pool, made.id, experts), TIDEPOOL_STALE_ID);
  EXPECT_EQ(tidepool_set_lifecycle(pool, made.id, TIDEPOOL_LIFECYCLE_INACTIVE), TIDEPOOL_STALE_ID);
}

TEST_F(CApiTensor, ForeignIdsAreRefusedEverywhere) {
  tidepool_tensor out{};
  auto about = sized<tidepool_tensor_info>();
  void* data = nullptr;
  const tidepool_tensor real = allocate(64);
  for (const tidepool_tensor_id id :
       {tidepool_tensor_id{1}, ~tidepool_tensor_id{0}, real.id ^ 0x80000000U,
        real.id + (std::uint64_t{1} << 32), std::uint64_t{0xdeadbeefcafe}}) {
    EXPECT_EQ(tidepool_deallocate(pool, id), TIDEPOOL_STALE_ID) << id;
    EXPECT_EQ(tidepool_deallocate_on(pool, id, {}), TIDEPOOL_STALE_ID);
    EXPECT_EQ(tidepool_retain(pool, id), TIDEPOOL_STALE_ID);
    EXPECT_EQ(tidepool_slice(pool, id, 0, 0, &out), TIDEPOOL_STALE_ID);
    EXPECT_EQ(tidepool_pin(pool, id, &data), TIDEPOOL_STALE_ID);
    EXPECT_EQ(tidepool_unpin(pool, id), TIDEPOOL_STALE_ID);
    EXPECT_EQ(tidepool_resize(pool, id, 8), TIDEPOOL_STALE_ID);
    EXPECT_EQ(tidepool_info(pool, id, &about), TIDEPOOL_STALE_ID);
    EXPECT_EQ(tidepool_set_name(pool, id, 0), TIDEPOOL_STALE_ID);
  }
  EXPECT_EQ(info(real.id).references, 1U);
  free(real.id);
}

}  // namespace
