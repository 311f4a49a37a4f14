// SPDX-License-Identifier: Apache-2.0
//
// What several probes need.
#include "probe.hpp"

#include "../../../cuda/src/driver/context.hpp"
#include <tidepool/cpu/backend.hpp>
#include <tidepool/cuda/backend.hpp>
#include <tidepool/cuda/stream.hpp>

namespace tidepool::first_run {

std::unique_ptr<pool> make_pool() {
  std::vector<std::unique_ptr<backend>> backends;
  backends.push_back(cpu::make_backend());
  backends.push_back(cuda::make_backend());
  return std::make_unique<pool>(std::move(backends));
}

stream::stream(pool* of) : of_(of) {
  static_cast<void>(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking));
}

stream::~stream() {
  if (of_ != nullptr) {
    for (const device_description& about : of_->devices()) {
      static_cast<void>(of_->retire(about.where, ref()));
    }
  }
  static_cast<void>(cudaStreamDestroy(handle_));
}

stream_ref stream::ref() const {
  return cuda::stream(handle_);
}

void* driver_function(const char* name) {
  const cuda::entry_point found = cuda::find_entry_point(name);
  static_cast<void>(cudaGetLastError());
  return found.function;
}

}  // namespace tidepool::first_run
