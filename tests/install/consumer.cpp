// SPDX-License-Identifier: Apache-2.0
//
// A user's program: allocates on the host, asks for a GPU, frees by scope. Status 0: all is well.
#include <tidepool/cpu/backend.hpp>
#include <tidepool/cuda/backend.hpp>
#include <tidepool/pool.hpp>
#include <tidepool/version.hpp>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace {

bool allocates_on_the_host() {
  constexpr std::size_t bytes = 1000;
  tidepool::pool pool{tidepool::cpu::make_backend()};
  const tidepool::tensor tensor = pool.allocate(bytes, tidepool::device::cpu());
  std::memset(tensor.data(), 1, bytes);
  return tensor.bytes() == bytes;
}

bool answers_about_cuda() {
  const auto gpu = tidepool::cuda::try_make_backend();
  return gpu.has_value() || gpu.error().code == tidepool::errc::backend_unavailable;
}

}  // namespace

int main() {
  std::printf("tidepool %s\n", tidepool::version());
  const bool good = allocates_on_the_host() && answers_about_cuda() &&
                    std::string_view{tidepool::version()}.starts_with("0.1.");
  return good ? 0 : 1;
}
