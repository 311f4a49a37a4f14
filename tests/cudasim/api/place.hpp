// SPDX-License-Identifier: Apache-2.0
//
// Where CUDA must not be called: in destructors at the end of a thread that has used it, because
// the driver's own state of the thread may be gone, and in a child that was forked after the first
// call. Both are reported. What is not seen: a destructor that runs before ours, of an object that
// the thread made after its first call. Thread-safe.
#pragma once

#include "runtime/runtime.hpp"

namespace cudasim {

// Pre: the runtime's lock is held.
void report_bad_place(runtime& r, const char* name);

}  // namespace cudasim
