// SPDX-License-Identifier: Apache-2.0
//
// What an annotated backend tells: ranges around slow calls, slabs by name, every block that is out
// and none that is not. By a recorder, and through NVTX where a tool is loaded.
#include "../support.hpp"
#include "annotate/backend.hpp"
#include "annotate/source.hpp"
#include "cuda_backend.hpp"
#include "nvtx_tool.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace tidepool::test {
namespace {

/// What a tool would know; complains of what cannot be.
struct record {
  std::vector<std::string> ranges;
  int open_ranges = 0;
  std::map<std::uintptr_t, std::pair<std::string, std::span<const std::byte>>> slabs;
  std::map<const void*, std::size_t> blocks;
  std::uintptr_t last_slab = 0;
};

class recorder final : public cuda::annotator {
 public:
  explicit recorder(record& into) : into_(into) {}
  void begin_range(const char* what) noexcept override {
    into_.ranges.emplace_back(what);
    ++into_.open_ranges;
  }
  void end_range() noexcept override { --into_.open_ranges; }
  [[nodiscard]] std::uintptr_t add_slab(std::span<const std::byte> memory,
                                        const char* name) noexcept override {
    into_.slabs[++into_.last_slab] = {name, memory};
    return into_.last_slab;
  }
  void remove_slab(std::uintptr_t slab) noexcept override {
    EXPECT_EQ(into_.slabs.erase(slab), 1U);
  }
  void add_blocks(std::uintptr_t slab, std::span<const block> blocks) noexcept override {
    const auto home = into_.slabs.at(slab).second;
    for (const block& b : blocks) {
      const auto* const data = static_cast<const std::byte*>(b.data);
      EXPECT_TRUE(data >= home.data() && data + b.bytes <= home.data() + home.size());
      EXPECT_TRUE(into_.blocks.emplace(b.data, b.bytes).second);
    }
  }
  void resize_block(const block& now) noexcept override { into_.blocks.at(now.data) = now.bytes; }
  void remove_blocks(std::span<const block> blocks) noexcept override {
    for (const block& b : blocks) {
      EXPECT_EQ(into_.blocks.erase(b.data), 1U);
    }
  }

 private:
  record& into_;
};

class Annotated : public CudaBackend {
 protected:
  void SetUp() override {
    CudaBackend::SetUp();
    if (tested == nullptr) {
      return;
    }
    auto with = std::make_unique<cuda::annotations>(std::make_unique<recorder>(told));
    auto opened = cuda::driver::open(0);
    ASSERT_TRUE(opened);
    std::unique_ptr<cuda::driver> gpu = std::move(*opened);
    cuda::made_source source = cuda::make_growable_source(*gpu);
    if (!source) {
      where = device::cuda(0).with(memory_kind::plain);
      source = cuda::make_plain_source(*gpu);
    } else {
      where = device::cuda(0).with(memory_kind::growable);
    }
    ASSERT_TRUE(source);
    auto wrapped = std::make_unique<cuda::annotated_source>(std::move(*source), with->slabs);
    std::vector<std::unique_ptr<cuda::device_memory>> memories;
    memories.push_back(std::make_unique<cuda::device_memory>(*gpu, std::move(wrapped),
                                                             cuda::device_memory_options{}));
    ASSERT_TRUE(memories.front()->prepare().ok());
    std::vector<device_description> descriptions{memories.front()->description()};
    tested = std::make_unique<cuda::annotated_backend>(
        std::make_unique<cuda::cuda_backend>(std::move(gpu), std::move(memories),
                                             std::move(descriptions)),
        std::move(with));
    tested->attach(host);
  }
  void TearDown() override {
    CudaBackend::TearDown();
    EXPECT_TRUE(told.blocks.empty());
    EXPECT_TRUE(told.slabs.empty());
    EXPECT_EQ(told.open_ranges, 0);
  }
  [[nodiscard]] bool was_told_of(std::string_view range) const {
    return std::find(told.ranges.begin(), told.ranges.end(), range) != told.ranges.end();
  }

  record told;
};

TEST_F(Annotated, SlabsAreKnownByName) {
  const test_stream s(*tested, 1);
  const block first = make_large(3 * mib, s.ref());
  const block second = make_large(40 * mib, s.ref());
  ASSERT_EQ(told.slabs.size(), 2U);
  const std::string begin = where.memory() == memory_kind::growable
                                ? "tidepool cuda:0/growable slab "
                                : "tidepool cuda:0/plain slab ";
  EXPECT_EQ(told.slabs.at(1).first, begin + "0");
  EXPECT_EQ(told.slabs.at(2).first, begin + "1");
  EXPECT_EQ(told.ranges, (std::vector<std::string>{"refill", "grow", "refill", "grow"}));
  give_back(first, s.ref());
  give_back(second, s.ref());
}

TEST_F(Annotated, BlocksAreKnownWhileTheyAreOut) {
  const test_stream s(*tested, 1);
  std::array<block, 20> few;
  ASSERT_EQ(tested->refill(ask(4 * kib, s.ref()), few).count, few.size());
  EXPECT_EQ(told.blocks.size(), few.size());
  EXPECT_EQ(told.blocks.at(few[7].data), 4 * kib);
  tested->take_back(where, few, s.ref());
  EXPECT_TRUE(told.blocks.empty());
  block large = make_large(2 * mib, s.ref());
  if (const auto longer = tested->extend(where, large, 3 * mib); longer) {
    EXPECT_EQ(told.blocks.at(large.data), *longer);
    EXPECT_TRUE(was_told_of("extend"));
  }
  const std::array<stream_ref, 1> streams = {s.ref()};
  tested->take_back_after(where, large, streams);
  EXPECT_TRUE(told.blocks.empty());
}

TEST_F(Annotated, RangesSayWhatIsSlow) {
  block_request request = ask(4 * kib, {});
  request.for_capture = true;
  block one;
  ASSERT_EQ(tested->refill(request, {&one, 1}).count, 1U);
  EXPECT_TRUE(was_told_of("capture"));
  give_back(one, {});
  expect_success(cudaDeviceSynchronize());
  (void)tested->decay(where);
  EXPECT_GT(tested->trim(where, 0), 0U);
  EXPECT_TRUE(was_told_of("decay"));
  EXPECT_TRUE(was_told_of("trim"));
  EXPECT_TRUE(was_told_of("give back"));
}

TEST_F(Annotated, ASlabThatTheDriverKeepsStaysKnown) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "a real driver fails on no order";
  }
  give_back(make_large(3 * mib, {}), {});
  expect_success(cudaDeviceSynchronize());
  cudasim_fail_call("cuMemUnmap", 1, cudaErrorUnknown, 0);
  cudasim_fail_call("cudaFree", 1, cudaErrorUnknown, 0);
  (void)tested->trim(where, 0);
  cudasim_fail_no_call();
  EXPECT_EQ(told.slabs.size(), 1U);
}

// The whole way: options, wrappers, NVTX, a tool.
TEST_F(CudaBackend, AToolBehindNvtxSeesSlabsAndBlocks) {
  const char* const path = std::getenv("NVTX_INJECTION64_PATH");
  if (path == nullptr) {
    GTEST_SKIP() << "no tool";
  }
  void* const library = dlopen(path, RTLD_NOW);
  ASSERT_NE(library, nullptr);
  const auto function =
      reinterpret_cast<decltype(&tidepool_nvtx_counts)>(dlsym(library, "tidepool_nvtx_counts"));
  ASSERT_NE(function, nullptr);
  const cuda::test::nvtx_counts& counts = *function();
  const cuda::test::nvtx_counts before = counts;
  const result<std::unique_ptr<backend>> told =
      cuda::try_make_backend({.devices = {device::pinned(device::cuda(0))}, .nvtx = true});
  ASSERT_TRUE(told);
  budget own;
  (*told)->attach(own);
  const block_request request{
      .where = device::pinned(device::cuda(0)), .bytes = 4 * kib, .alignment = 256};
  std::array<block, 3> few;
  ASSERT_EQ((*told)->refill(request, few).count, few.size());
  EXPECT_EQ(counts.heaps_added, before.heaps_added + 1);
  EXPECT_EQ(std::string_view(counts.latest_heap), "tidepool pinned:0 slab 0");
  EXPECT_EQ(counts.regions_added, before.regions_added + 3);
  EXPECT_GE(counts.ranges_begun, before.ranges_begun + 2);
  (*told)->take_back(request.where, few, {});
  EXPECT_EQ(counts.regions_removed, before.regions_removed + 3);
  (void)(*told)->trim(request.where, 0);
  EXPECT_EQ(counts.heaps_removed, before.heaps_removed + 1);
  EXPECT_EQ(counts.ranges_ended, counts.ranges_begun);
}

}  // namespace
}  // namespace tidepool::test
