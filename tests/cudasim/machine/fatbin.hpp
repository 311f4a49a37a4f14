// SPDX-License-Identifier: Apache-2.0
//
// PTX text out of the fat binaries that nvcc embeds in host programs, compressed by zstd (what nvcc
// 13 does) or plain (--no-compress). Machine code in them is not looked at. No state.
#pragma once

#include <string>

namespace cudasim {

/// `wrapper` is what nvcc's generated code passes to __cudaRegisterFatBinary. Answers the PTX for
/// the highest architecture not above `architecture` (80 is sm_80); empty if there is none. Throws
/// std::runtime_error that names what is damaged.
[[nodiscard]] std::string extract_ptx(const void* wrapper, unsigned architecture);

}  // namespace cudasim
