// SPDX-License-Identifier: Apache-2.0
//
// Which memory locations there are: the devices, the host, and the NUMA nodes that this machine
// has. For api/ only.
#pragma once

#include "api/call.hpp"

#include <unistd.h>

#include <string>

namespace cudasim {

inline void check_location(const runtime& r, const cudaMemLocation& where) {
  switch (where.type) {
  case cudaMemLocationTypeDevice:
    require(where.id >= 0 && where.id < r.set.devices, cudaErrorInvalidDevice);
    return;
  case cudaMemLocationTypeHostNuma:
    require(
        where.id == 0 ||
            access(("/sys/devices/system/node/node" + std::to_string(where.id)).c_str(), F_OK) == 0,
        cudaErrorInvalidValue);
    return;
  case cudaMemLocationTypeHost:
  case cudaMemLocationTypeHostNumaCurrent:
    return;
  default:
    refuse(cudaErrorInvalidValue);
  }
}

}  // namespace cudasim
