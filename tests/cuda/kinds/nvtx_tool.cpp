// SPDX-License-Identifier: Apache-2.0
//
// A tool as Nsight and compute-sanitizer are, as small as can be: NVTX loads it where
// NVTX_INJECTION64_PATH names its library, and it counts what it is told.
#include "nvtx_tool.hpp"

#include <cstdio>
#include <cstring>

#include <nvtx3/nvToolsExt.h>
#include <nvtx3/nvToolsExtMem.h>

namespace {

tidepool::cuda::test::nvtx_counts counts;
char heap_of_tool;

template <std::size_t N>
void keep(char (&text)[N], const char* said) {
  std::snprintf(text, N, "%s", said);
}

nvtxDomainHandle_t create_domain(const char* name) {
  ++counts.domains;
  keep(counts.latest_domain, name);
  return reinterpret_cast<nvtxDomainHandle_t>(&counts);
}
void destroy_domain(nvtxDomainHandle_t) {
  --counts.domains;
}
int push_range(nvtxDomainHandle_t, const nvtxEventAttributes_t* range) {
  keep(counts.latest_range, range->message.ascii);
  return counts.ranges_begun++;
}
int pop_range(nvtxDomainHandle_t) {
  return counts.ranges_ended++;
}

nvtxMemHeapHandle_t add_heap(nvtxDomainHandle_t, const nvtxMemHeapDesc_t* heap) {
  ++counts.heaps_added;
  keep(counts.latest_heap, heap->message.ascii);
  counts.latest_heap_bytes =
      static_cast<const nvtxMemVirtualRangeDesc_t*>(heap->typeSpecificDesc)->size;
  return reinterpret_cast<nvtxMemHeapHandle_t>(&heap_of_tool);
}
void remove_heap(nvtxDomainHandle_t, nvtxMemHeapHandle_t heap) {
  counts.heaps_removed += reinterpret_cast<char*>(heap) == &heap_of_tool ? 1 : 1000;
}
void add_regions(nvtxDomainHandle_t, const nvtxMemRegionsRegisterBatch_t* regions) {
  counts.regions_added += static_cast<int>(regions->regionCount);
}
void resize_regions(nvtxDomainHandle_t, const nvtxMemRegionsResizeBatch_t* regions) {
  counts.regions_resized += static_cast<int>(regions->regionDescCount);
}
void remove_regions(nvtxDomainHandle_t, const nvtxMemRegionsUnregisterBatch_t* regions) {
  counts.regions_removed += static_cast<int>(regions->refCount);
}

template <class F>
intptr_t slot(F* function) {
  return reinterpret_cast<intptr_t>(function);
}
template <class F>
void set(NvtxFunctionTable table, int which, F* function) {
  *table[which] = reinterpret_cast<NvtxFunctionPointer>(function);
}

}  // namespace

[[gnu::visibility("default")]] const tidepool::cuda::test::nvtx_counts* tidepool_nvtx_counts() {
  return &counts;
}

extern "C" {

[[gnu::visibility("default")]] int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t tables);
[[gnu::visibility("default")]] int InitializeInjectionNvtxExtension(nvtxExtModuleInfo_t* module);

int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t tables) {
  const auto* const callbacks =
      static_cast<const NvtxExportTableCallbacks*>(tables(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned size = 0;
  if (callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size) == 0) {
    return 0;
  }
  set(table, NVTX_CBID_CORE2_DomainCreateA, &create_domain);
  set(table, NVTX_CBID_CORE2_DomainDestroy, &destroy_domain);
  set(table, NVTX_CBID_CORE2_DomainRangePushEx, &push_range);
  set(table, NVTX_CBID_CORE2_DomainRangePop, &pop_range);
  return 1;
}

int InitializeInjectionNvtxExtension(nvtxExtModuleInfo_t* module) {
  if (module->moduleId != NVTX_EXT_MODULEID_MEM || module->segmentsCount == 0) {
    return 0;
  }
  intptr_t* const functions = module->segments[0].functionSlots;
  functions[NVTX3EXT_CBID_nvtxMemHeapRegister] = slot(&add_heap);
  functions[NVTX3EXT_CBID_nvtxMemHeapUnregister] = slot(&remove_heap);
  functions[NVTX3EXT_CBID_nvtxMemRegionsRegister] = slot(&add_regions);
  functions[NVTX3EXT_CBID_nvtxMemRegionsResize] = slot(&resize_regions);
  functions[NVTX3EXT_CBID_nvtxMemRegionsUnregister] = slot(&remove_regions);
  return 1;
}

}  // extern "C"
