// SPDX-License-Identifier: Apache-2.0
//
// The implementations of access kernels for instruction sets that not every processor has. Plain
// declarations: the files behind them are compiled for their instruction set and may share no
// inline function with others. access_kernels.cpp chooses.
#pragma once

namespace tidepool {
inline namespace v0 {

struct access_kernels;

namespace cpu {

extern const access_kernels avx2_access_kernels;
extern const access_kernels avx512_access_kernels;
extern const access_kernels neon_access_kernels;

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
