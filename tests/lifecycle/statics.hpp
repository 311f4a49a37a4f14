// SPDX-License-Identifier: Apache-2.0
//
// Statics of several files of one program, made and destroyed in an order that nobody chooses.
#pragma once

#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <vector>

namespace tidepool::test {

extern pool static_pool;               // of statics.cpp
std::vector<tensor>& other_tensors();  // of other_statics.cpp
pool& other_pool();                    // made on first use

}  // namespace tidepool::test
