// SPDX-License-Identifier: Apache-2.0
//
// The driver's functions for virtual memory, reached as programs do that link no driver: through
// cudaGetDriverEntryPointByVersion.
#pragma once

#include "support.cuh"

#include <cuda.h>

template <class F>
F* entry(const char* name, F*) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
  expect_success(cudaGetDriverEntryPointByVersion(name, &found, 13000, cudaEnableDefault, &result),
                 name);
  EXPECT_EQ(result, cudaDriverEntryPointSuccess) << name;
  return reinterpret_cast<F*>(found);
}

// Looked up with each object, so that it is what a test derives from.
struct virtual_functions {
  decltype(&cuMemAddressReserve) reserve = entry("cuMemAddressReserve", &cuMemAddressReserve);
  decltype(&cuMemAddressFree) free_address = entry("cuMemAddressFree", &cuMemAddressFree);
  decltype(&cuMemCreate) create = entry("cuMemCreate", &cuMemCreate);
  decltype(&cuMemRelease) release = entry("cuMemRelease", &cuMemRelease);
  decltype(&cuMemMap) map = entry("cuMemMap", &cuMemMap);
  decltype(&cuMemUnmap) unmap = entry("cuMemUnmap", &cuMemUnmap);
  decltype(&cuMemSetAccess) set_access = entry("cuMemSetAccess", &cuMemSetAccess);
  decltype(&cuMemGetAccess) get_access = entry("cuMemGetAccess", &cuMemGetAccess);
  decltype(&cuMemGetAllocationGranularity) granularity =
      entry("cuMemGetAllocationGranularity", &cuMemGetAllocationGranularity);
};
