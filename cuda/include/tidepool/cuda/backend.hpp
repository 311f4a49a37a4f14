// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend's factory. It exists in every build, so that user code needs no #ifdef: without
// CUDA it answers errc::backend_unavailable. No CUDA header is needed to include it; stream.hpp
// makes a stream_ref of a cudaStream_t.
#pragma once

#include <tidepool/backend.hpp>
#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/result.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// Which other GPUs may access memory of this one in kernels and copies of their own.
enum class peer_access : std::uint8_t {
  all = 0,    ///< every GPU that can (cudaDeviceCanAccessPeer)
  none = 1,   ///< no other GPU
  these = 2,  ///< those that backend_options::peer_ordinals names
};

/// How a CUDA backend is set up. The defaults suit every program.
struct backend_options {
  std::uint16_t ordinal = 0;  ///< the GPU, numbered as the CUDA runtime does
  /// A slab that stays free for this many calls of pool_control::tick goes back to the driver. 0:
  /// only trim gives slabs back.
  std::uint32_t decay_ticks = 16;
  /// The devices to serve, in this order. Empty: those that the GPU can serve of
  /// device::cuda(ordinal), the same with memory_kind::plain and memory_kind::growable,
  /// device::pinned(device::cuda(ordinal)) and device::managed(device::cuda(ordinal)). A device
  /// that is named here and cannot be served is an error. It may also be device::pinned(node): host
  /// memory of a NUMA node, locked for all GPUs.
  std::vector<device> devices = {};
  /// Tells tools behind NVTX of slow operations, of slabs by name and of blocks (cuda/README.md).
  /// TIDEPOOL=nvtx has the same effect. If it is off, it costs nothing.
  bool nvtx = false;
  /// The GPUs that may access device::cuda(ordinal) and its memory_kind::growable. CUDA ties their
  /// access to the memory, so cudaDeviceEnablePeerAccess does not give it. It is the other way
  /// round with memory_kind::plain, for which this option does nothing: there the application calls
  /// that function. Pinned and managed memory is within reach of all GPUs. pool::copy needs no
  /// access.
  peer_access peers = peer_access::all;
  std::vector<std::uint16_t> peer_ordinals = {};  ///< other GPUs, for peer_access::these only
};

/// A backend for the memory of one GPU and for host memory beside it.
/// Errors: backend_unavailable, with a text that says why (built without CUDA, no driver or one too
/// old, no GPU); unknown_device: there are GPUs, but fewer, or no such NUMA node; invalid_argument:
/// a device of another GPU or kind, or one twice, or a peer that is the GPU itself, or one twice;
/// unsupported: a device that the GPU cannot serve, or a peer that cannot reach it; out_of_memory,
/// driver_error.
/// Cost: opens the GPU's context if the process has not, which takes a tenth of a second or more.
/// Thread safety: any thread, at any time.
[[nodiscard]] TIDEPOOL_EXPORT result<std::unique_ptr<backend>> try_make_backend(
    const backend_options& options = {}) noexcept;
/// The same; throws tidepool::error.
[[nodiscard]] TIDEPOOL_EXPORT std::unique_ptr<backend> make_backend(
    const backend_options& options = {});

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
