// SPDX-License-Identifier: Apache-2.0
//
// The driver's calls about memory of the host: page-locking, memory that it locks itself, managed
// memory. As driver.hpp's: each is one call, translated, counted, outside of captures.
#pragma once

#include "driver/driver.hpp"
#include "driver/host_system.hpp"
#include <tidepool/backend.hpp>

#include <span>

namespace tidepool {
inline namespace v0 {
namespace cuda {

enum class host_access : std::uint8_t {
  read_write,
  read_only,  ///< the GPU may not write; pages that the host may not write allow nothing else
};
/// Locks the pages, for all GPUs of the process. Pre: data and bytes are of one mapping.
[[nodiscard]] status register_host(driver& gpu, std::span<const std::byte> memory,
                                   host_access access) noexcept;
/// Pre: the GPUs are done with it.
[[nodiscard]] status unregister_host(driver& gpu, const void* data) noexcept;
/// The address under which the GPU sees locked memory.
[[nodiscard]] result<void*> device_address(driver& gpu, const void* data) noexcept;

/// Memory that the driver maps and locks itself, on no particular node.
[[nodiscard]] result<void*> allocate_host(driver& gpu, std::size_t bytes) noexcept;
[[nodiscard]] status free_host(driver& gpu, void* data) noexcept;

[[nodiscard]] result<void*> allocate_managed(driver& gpu, std::size_t bytes) noexcept;
/// errc::invalid_argument: `target` is neither the host nor a GPU.
[[nodiscard]] status prefetch_managed(driver& gpu, std::span<const std::byte> range, device target,
                                      cudaStream_t stream) noexcept;
[[nodiscard]] status advise_managed(driver& gpu, std::span<const std::byte> range,
                                    const advice_request& request) noexcept;

/// The NUMA node of the host next to the GPU, or host_system::no_node. A few calls.
[[nodiscard]] int host_node(driver& gpu, const host_system& system) noexcept;

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
