// SPDX-License-Identifier: Apache-2.0
//
// Where the lanes of a warp access memory: bounds and alignment of all 32 addresses are checked at
// once against the range that the block used last, and only what lies outside is looked up.
#pragma once

#include "machine/execution.hpp"

namespace cudasim {

/// Host addresses for the lanes of m; raises for the first lane that may not access its address.
/// Shows accesses of global memory to the race checker and counts sectors.
void find_addresses(warp&, const instruction&, lane_mask m, bool write, char** host);

}  // namespace cudasim
