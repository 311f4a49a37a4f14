// SPDX-License-Identifier: Apache-2.0
//
// The annotator that speaks NVTX 3 in a domain "tidepool": Nsight Systems shows the ranges,
// compute-sanitizer takes slabs as heaps and blocks as their regions, and so finds accesses between
// blocks. Without a tool each call is a test of a null pointer inside NVTX.
#pragma once

#include "annotate/annotator.hpp"

#include <memory>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// Null: no memory.
[[nodiscard]] std::unique_ptr<annotator> make_nvtx_annotator() noexcept;

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
