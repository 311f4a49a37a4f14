// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend's factory for C, in builds with CUDA and without.
#include <tidepool/c_interop.hpp>
#include <tidepool/cuda.h>
#include <tidepool/cuda/backend.hpp>

#include <cstddef>
#include <exception>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cuda {
namespace {

constexpr std::size_t most_devices = 16;
constexpr std::size_t most_peers = 63;

/// What is wrong with the peers; null: nothing that can be told without a GPU.
[[nodiscard]] const char* fault_of_peers(const tidepool_cuda_backend_options& read) noexcept {
  if (read.peers > TIDEPOOL_CUDA_PEERS_THESE) {
    return "peers must be one of TIDEPOOL_CUDA_PEERS_...";
  }
  if (read.peer_count > most_peers || (read.peer_ordinals == nullptr && read.peer_count != 0)) {
    return "peer_ordinals must be peer_count ordinals, at most 63";
  }
  for (std::size_t i = 0; i < read.peer_count; ++i) {
    if (read.peer_ordinals[i] > 0xffff) {
      return "peer_ordinals must be 0..65535";
    }
  }
  return nullptr;
}

[[nodiscard]] tidepool_status refuse(const char* text) noexcept {
  return record_error(status{.code = errc::invalid_argument, .text = text});
}

}  // namespace
}  // namespace cuda
}  // namespace v0
}  // namespace tidepool

using namespace tidepool;  // NOLINT: the function below is outside of all namespaces

tidepool_status tidepool_cuda_backend_create(const tidepool_cuda_backend_options* options,
                                             tidepool_backend** out) {
  if (out == nullptr) {
    return cuda::refuse("a null argument");
  }
  *out = nullptr;
  tidepool_cuda_backend_options read{};
  if (options != nullptr && !detail::read_c_struct(options, read)) {
    return cuda::refuse("the size of a struct is not set, or a field of a later version is");
  }
  if (read.ordinal > 0xffff) {
    return cuda::refuse("ordinal must be 0..65535");
  }
  if (read.device_count > cuda::most_devices ||
      (read.devices == nullptr && read.device_count != 0)) {
    return cuda::refuse("devices must be device_count devices, at most 16");
  }
  if (const char* const fault = cuda::fault_of_peers(read); fault != nullptr) {
    return cuda::refuse(fault);
  }
  try {
    cuda::backend_options wanted;
    wanted.ordinal = static_cast<std::uint16_t>(read.ordinal);
    if (read.decay_ticks != 0) {
      wanted.decay_ticks = read.decay_ticks == TIDEPOOL_CUDA_NO_DECAY ? 0 : read.decay_ticks;
    }
    for (std::size_t i = 0; i < read.device_count; ++i) {
      wanted.devices.push_back(device::from_bits(read.devices[i]));
    }
    wanted.nvtx = read.nvtx != 0;
    wanted.peers = static_cast<cuda::peer_access>(read.peers);
    for (std::size_t i = 0; i < read.peer_count; ++i) {
      wanted.peer_ordinals.push_back(static_cast<std::uint16_t>(read.peer_ordinals[i]));
    }
    result<std::unique_ptr<backend>> made = cuda::try_make_backend(wanted);
    if (!made) {
      return record_error(made.error());
    }
    *out = to_c(std::move(*made));
    return TIDEPOOL_OK;
  } catch (const std::exception&) {
    return record_error(status{.code = errc::out_of_memory});
  }
}
