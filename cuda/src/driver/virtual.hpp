// SPDX-License-Identifier: Apache-2.0
//
// virtual_memory: the part of the driver that maps memory of a GPU to addresses of our choice. It
// is reached by entry points that the runtime looks up, so that no program links the driver. As
// driver.hpp's: each function is one call, translated and counted. Thread-safe.
#pragma once

#include "driver/driver.hpp"

#include <cuda.h>

#include <array>
#include <cstddef>

namespace tidepool {
inline namespace v0 {
namespace cuda {

class virtual_memory {
 public:
  /// errc::unsupported where the GPU or the driver cannot. `gpu` outlives it.
  [[nodiscard]] static result<virtual_memory> open(driver& gpu) noexcept;

  /// What all lengths and addresses below are multiples of.
  [[nodiscard]] std::size_t granularity() const noexcept { return granularity_; }

  [[nodiscard]] result<CUdeviceptr> reserve(std::size_t bytes) noexcept;
  /// Pre: nothing is mapped there.
  [[nodiscard]] status free(CUdeviceptr at, std::size_t bytes) noexcept;
  /// Memory of the GPU without an address.
  [[nodiscard]] result<CUmemGenericAllocationHandle> create(std::size_t bytes) noexcept;
  /// The memory stays while it is mapped.
  [[nodiscard]] status release(CUmemGenericAllocationHandle memory) noexcept;
  /// Nobody may touch it before allow_access.
  [[nodiscard]] status map(CUdeviceptr at, std::size_t bytes,
                           CUmemGenericAllocationHandle memory) noexcept;
  /// For this GPU and its peers.
  [[nodiscard]] status allow_access(CUdeviceptr at, std::size_t bytes) noexcept;
  /// Pre: whole mappings, and no work uses them.
  [[nodiscard]] status unmap(CUdeviceptr at, std::size_t bytes) noexcept;

 private:
  explicit virtual_memory(driver& gpu) noexcept : driver_(&gpu) {}
  template <class F>
  [[nodiscard]] status call(const char* text, F&& function) noexcept;
  void add_access(CUdevice number) noexcept;

  driver* driver_;
  std::size_t granularity_ = 0;
  CUmemAllocationProp kind_{};
  std::array<CUmemAccessDesc, peer_list::most + 1> access_{};  // of the GPU itself, then of peers
  std::size_t access_count_ = 0;

  decltype(&cuMemAddressReserve) reserve_ = nullptr;
  decltype(&cuMemAddressFree) free_ = nullptr;
  decltype(&cuMemCreate) create_ = nullptr;
  decltype(&cuMemRelease) release_ = nullptr;
  decltype(&cuMemMap) map_ = nullptr;
  decltype(&cuMemSetAccess) set_access_ = nullptr;
  decltype(&cuMemUnmap) unmap_ = nullptr;
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
