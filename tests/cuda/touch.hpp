// SPDX-License-Identifier: Apache-2.0
//
// Kernels that touch memory on a stream, so that what is not in order shows: as wrong values, and
// on cudasim as a race.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace tidepool::test {

/// Loads the kernels now. A driver that loads them at their first launch may have to do what a
/// capture under way forbids.
void load_kernels();
/// Writes `value` into n words.
void launch_fill(unsigned* words, std::size_t n, unsigned value, cudaStream_t stream);
/// Adds the number of words that are not `value` to *wrong, which is device memory.
void launch_check(const unsigned* words, std::size_t n, unsigned value, unsigned* wrong,
                  cudaStream_t stream);

}  // namespace tidepool::test
