// SPDX-License-Identifier: Apache-2.0
//
// NVTX calls behind annotator. The headers load a tool's library at the first call, if the
// environment names one.
#include "annotate/nvtx.hpp"

#include <nvtx3/nvToolsExt.h>

#if __has_include(<nvtx3/nvToolsExtMem.h>)
#include <nvtx3/nvToolsExtMem.h>
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

constexpr std::size_t batch = 64;  // blocks told in one call

class nvtx_annotator : public annotator {
 public:
  nvtx_annotator() noexcept : domain_(nvtxDomainCreateA("tidepool")) {}
  ~nvtx_annotator() override { nvtxDomainDestroy(domain_); }

  void begin_range(const char* what) noexcept final {
    nvtxEventAttributes_t range{};
    range.version = NVTX_VERSION;
    range.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    range.messageType = NVTX_MESSAGE_TYPE_ASCII;
    range.message.ascii = what;
    static_cast<void>(nvtxDomainRangePushEx(domain_, &range));
  }
  void end_range() noexcept final { static_cast<void>(nvtxDomainRangePop(domain_)); }

  std::uintptr_t add_slab(std::span<const std::byte>, const char*) noexcept override { return 0; }
  void remove_slab(std::uintptr_t) noexcept override {}
  void add_blocks(std::uintptr_t, std::span<const block>) noexcept override {}
  void resize_block(const block&) noexcept override {}
  void remove_blocks(std::span<const block>) noexcept override {}

 protected:
  [[nodiscard]] nvtxDomainHandle_t domain() const noexcept { return domain_; }

 private:
  const nvtxDomainHandle_t domain_;
};

// Toolkits before 12.8 have no such header.
#if __has_include(<nvtx3/nvToolsExtMem.h>)

class nvtx_memory_annotator final : public nvtx_annotator {
 public:
  std::uintptr_t add_slab(std::span<const std::byte> memory, const char* name) noexcept override {
    const nvtxMemVirtualRangeDesc_t range{memory.size(), memory.data()};
    nvtxMemHeapDesc_t heap{};
    heap.extCompatID = NVTX_EXT_COMPATID_MEM;
    heap.structSize = sizeof heap;
    heap.usage = NVTX_MEM_HEAP_USAGE_TYPE_SUB_ALLOCATOR;
    heap.type = NVTX_MEM_TYPE_VIRTUAL_ADDRESS;
    heap.typeSpecificDescSize = sizeof range;
    heap.typeSpecificDesc = &range;
    heap.messageType = NVTX_MESSAGE_TYPE_ASCII;
    heap.message.ascii = name;
    return reinterpret_cast<std::uintptr_t>(nvtxMemHeapRegister(domain(), &heap));
  }

  void remove_slab(std::uintptr_t slab) noexcept override {
    nvtxMemHeapUnregister(domain(), reinterpret_cast<nvtxMemHeapHandle_t>(slab));
  }

  void add_blocks(std::uintptr_t slab, std::span<const block> blocks) noexcept override {
    for (; !blocks.empty(); blocks = blocks.subspan(std::min(batch, blocks.size()))) {
      const std::size_t n = std::min(batch, blocks.size());
      const ranges described(blocks.first(n));
      nvtxMemRegionsRegisterBatch_t regions{};
      regions.extCompatID = NVTX_EXT_COMPATID_MEM;
      regions.structSize = sizeof regions;
      regions.regionType = NVTX_MEM_TYPE_VIRTUAL_ADDRESS;
      regions.heap = reinterpret_cast<nvtxMemHeapHandle_t>(slab);
      regions.regionCount = n;
      regions.regionDescElementSize = sizeof(nvtxMemVirtualRangeDesc_t);
      regions.regionDescElements = described.all.data();
      nvtxMemRegionsRegister(domain(), &regions);
    }
  }

  void resize_block(const block& now) noexcept override {
    const ranges described({&now, 1});
    nvtxMemRegionsResizeBatch_t regions{};
    regions.extCompatID = NVTX_EXT_COMPATID_MEM;
    regions.structSize = sizeof regions;
    regions.regionType = NVTX_MEM_TYPE_VIRTUAL_ADDRESS;
    regions.regionDescCount = 1;
    regions.regionDescElementSize = sizeof(nvtxMemVirtualRangeDesc_t);
    regions.regionDescElements = described.all.data();
    nvtxMemRegionsResize(domain(), &regions);
  }

  void remove_blocks(std::span<const block> blocks) noexcept override {
    for (; !blocks.empty(); blocks = blocks.subspan(std::min(batch, blocks.size()))) {
      const std::size_t n = std::min(batch, blocks.size());
      std::array<nvtxMemRegionRef_t, batch> named{};
      for (std::size_t i = 0; i != n; ++i) {
        named[i].pointer = blocks[i].data;
      }
      nvtxMemRegionsUnregisterBatch_t regions{};
      regions.extCompatID = NVTX_EXT_COMPATID_MEM;
      regions.structSize = sizeof regions;
      regions.refType = NVTX_MEM_REGION_REF_TYPE_POINTER;
      regions.refCount = n;
      regions.refElementSize = sizeof(nvtxMemRegionRef_t);
      regions.refElements = named.data();
      nvtxMemRegionsUnregister(domain(), &regions);
    }
  }

 private:
  struct ranges {
    explicit ranges(std::span<const block> blocks) noexcept {
      std::transform(blocks.begin(), blocks.end(), all.begin(), [](const block& b) noexcept {
        return nvtxMemVirtualRangeDesc_t{b.bytes, b.data};
      });
    }
    std::array<nvtxMemVirtualRangeDesc_t, batch> all{};
  };
};

using usual_annotator = nvtx_memory_annotator;

#else

using usual_annotator = nvtx_annotator;

#endif

}  // namespace

std::unique_ptr<annotator> make_nvtx_annotator() noexcept {
  return std::unique_ptr<annotator>(new (std::nothrow) usual_annotator);
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
