// SPDX-License-Identifier: Apache-2.0
//
// What the tool of nvtx_tool.cpp has seen, for the test that loads it.
#pragma once

namespace tidepool::cuda::test {

struct nvtx_counts {
  int domains = 0;  ///< made and not destroyed
  int ranges_begun = 0;
  int ranges_ended = 0;
  int heaps_added = 0;
  int heaps_removed = 0;
  int regions_added = 0;
  int regions_resized = 0;
  int regions_removed = 0;
  char latest_domain[64] = {};
  char latest_range[64] = {};
  char latest_heap[64] = {};
  unsigned long long latest_heap_bytes = 0;
};

}  // namespace tidepool::cuda::test

/// In nvtx_tool's library.
extern "C" const tidepool::cuda::test::nvtx_counts* tidepool_nvtx_counts();
