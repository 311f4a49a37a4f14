// SPDX-License-Identifier: Apache-2.0
//
// What a tool behind NVTX sees. Run with NVTX_INJECTION64_PATH naming nvtx_tool's library, and
// without; needs no GPU.
#include "annotate/annotator.hpp"

#include "annotate/nvtx.hpp"
#include "nvtx_tool.hpp"

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

TEST(Annotator, WithoutOneRangesDoNothing) {
  const annotated_range off(nullptr, "nothing");
  EXPECT_EQ(counts().ranges_begun, 0);
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

}  // namespace
}  // namespace tidepool::cuda::test
