// SPDX-License-Identifier: Apache-2.0
//
// What a tool behind NVTX sees. Run with NVTX_INJECTION64_PATH naming nvtx_tool's library, and
// without; all but the last test need no GPU.
#include "annotate/annotator.hpp"

#include "annotate/nvtx.hpp"
#include "nvtx_tool.hpp"
#include <tidepool/cuda/backend.hpp>

#include <gtest/gtest.h>

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

namespace tidepool::cuda::test {
namespace {

const nvtx_counts& counts() {
  static const nvtx_counts* const found = [] {
    const char* const path = std::getenv("NVTX_INJECTION64_PATH");
    void* const library = path == nullptr ? nullptr : dlopen(path, RTLD_NOW);
    void* const function = library == nullptr ? nullptr : dlsym(library, "tidepool_nvtx_counts");
    return function == nullptr ? nullptr
                               : reinterpret_cast<decltype(&tidepool_nvtx_counts)>(function)();
  }();
  static const nvtx_counts none;
  return found == nullptr ? none : *found;
}

bool has_tool() {
  return std::getenv("NVTX_INJECTION64_PATH") != nullptr;
}

TEST(NvtxAnnotator, AToolSeesRangesSlabsAndBlocks) {
  const std::unique_ptr<annotator> told = make_nvtx_annotator();
  ASSERT_NE(told, nullptr);
  {
    const annotated_range outer(told.get(), "trim");
    const annotated_range inner(told.get(), "grow");
  }
  std::vector<std::byte> memory(1 << 20);
  const std::uintptr_t slab = told->add_slab(memory, "tidepool cuda:0 slab 3");
  std::vector<block> blocks(150);
  for (std::size_t i = 0; i != blocks.size(); ++i) {
    blocks[i] = {.data = memory.data() + i * 256, .bytes = 256};
  }
  told->add_blocks(slab, blocks);
  told->resize_block(blocks.back());
  told->remove_blocks(blocks);
  told->remove_slab(slab);
  if (!has_tool()) {
    return;  // none of it may have done anything
  }
  const nvtx_counts seen = counts();
  EXPECT_EQ(seen.domains, 1);
  EXPECT_EQ(std::string_view(seen.latest_domain), "tidepool");
  EXPECT_EQ(seen.ranges_begun, 2);
  EXPECT_EQ(seen.ranges_ended, 2);
  EXPECT_EQ(std::string_view(seen.latest_range), "grow");
  EXPECT_EQ(seen.heaps_added, 1);
  EXPECT_EQ(seen.heaps_removed, 1);
  EXPECT_EQ(std::string_view(seen.latest_heap), "tidepool cuda:0 slab 3");
  EXPECT_EQ(seen.latest_heap_bytes, memory.size());
  EXPECT_EQ(seen.regions_added, 150);
  EXPECT_EQ(seen.regions_resized, 1);
  EXPECT_EQ(seen.regions_removed, 150);
}

TEST(NvtxAnnotator, ItsDomainEndsWithIt) {
  make_nvtx_annotator().reset();
  EXPECT_EQ(counts().domains, 0);
}

// Off, there is no annotator: ranges hold a null pointer, and no slab is told of.
TEST(NvtxAnnotator, ABackendTellsAToolOnlyWhereTheOptionIsOn) {
  if (!has_tool()) {
    GTEST_SKIP() << "no tool counts";
  }
  for (const bool is_on : {false, true}) {
    const nvtx_counts before = counts();
    result<std::unique_ptr<backend>> made =
        try_make_backend({.devices = {device::cuda(0)}, .nvtx = is_on});
    if (!made) {
      GTEST_SKIP() << to_string(made.error());
    }
    const block_request request{.where = device::cuda(0), .bytes = 4096, .alignment = 256};
    block held;
    ASSERT_EQ((*made)->refill(request, {&held, 1}).count, 1U);
    (*made)->take_back(request.where, {&held, 1}, {});
    EXPECT_NE((*made)->trim(request.where, 0), 0U);
    made->reset();
    const nvtx_counts after = counts();
    // refill, grow, trim, give back
    EXPECT_EQ(after.ranges_begun - before.ranges_begun, is_on ? 4 : 0);
    EXPECT_EQ(after.ranges_ended - before.ranges_ended, is_on ? 4 : 0);
    EXPECT_EQ(after.heaps_added - before.heaps_added, is_on ? 1 : 0);
    EXPECT_EQ(after.regions_added - before.regions_added, is_on ? 1 : 0);
  }
}

}  // namespace
}  // namespace tidepool::cuda::test
