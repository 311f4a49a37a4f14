// SPDX-License-Identifier: Apache-2.0
//
// Managed memory: pages that the driver moves between the host and the GPUs as they are touched, or
// ahead of that when it is told to. Where the GPU cannot run beside the host's accesses (Windows,
// some virtual GPUs, GPUs before Pascal) the description says that the host may not reach it: core
// then fills and copies in stream order, and the application may touch it only while the GPU does
// nothing. Moving ahead is not possible there either.
#include "driver/host.hpp"
#include "slabs/slab_source.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <new>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

class managed_source final : public slab_source {
 public:
  managed_source(driver& gpu, bool concurrent) noexcept : driver_(gpu) {
    const int length = std::snprintf(name_.data(), name_.size(), "managed memory of %.*s%s",
                                     static_cast<int>(std::min<std::size_t>(gpu.name().size(), 96)),
                                     gpu.name().data(),
                                     concurrent ? "" : ", for the host only while the GPU is idle");
    description_.where = device::managed(device::cuda(static_cast<std::uint16_t>(gpu.ordinal())));
    description_.name = {name_.data(), static_cast<std::size_t>(length)};
    description_.alignment = 256;
    description_.host_accessible = concurrent;
    description_.stream_ordered = true;
    description_.can_migrate = concurrent;
  }

  [[nodiscard]] const device_description& description() const noexcept override {
    return description_;
  }
  /// A multiple of every system's page.
  [[nodiscard]] std::size_t granularity() const noexcept override { return std::size_t{64} << 10; }

  [[nodiscard]] result<slab> allocate(std::size_t bytes) noexcept override {
    const result<void*> made = allocate_managed(driver_, bytes);
    if (!made) {
      return here(made.error(), bytes);
    }
    return slab{
        .data = static_cast<std::byte*>(*made), .bytes = bytes, .address_space_bytes = bytes};
  }
  [[nodiscard]] status release(const slab& what) noexcept override {
    return driver_.release(what.data);
  }

  [[nodiscard]] status prefetch(std::span<const std::byte> range, device to,
                                void* stream) noexcept override {
    if (!description_.can_migrate) {
      return slab_source::prefetch(range, to, stream);
    }
    return here(prefetch_managed(driver_, range, to, static_cast<cudaStream_t>(stream)),
                range.size());
  }
  [[nodiscard]] status advise(std::span<const std::byte> range,
                              const advice_request& request) noexcept override {
    if (!description_.can_migrate) {
      return slab_source::advise(range, request);
    }
    return here(advise_managed(driver_, range, request), range.size());
  }

 private:
  [[nodiscard]] status here(status why, std::size_t bytes) const noexcept {
    if (!why.ok()) {
      why.requested = bytes;
      why.where = description_.where;
    }
    return why;
  }

  driver& driver_;
  device_description description_;
  std::array<char, 192> name_{};
};

}  // namespace

made_source make_managed_source(driver& gpu) noexcept {
  const device where = device::managed(device::cuda(static_cast<std::uint16_t>(gpu.ordinal())));
  if (gpu.attribute(cudaDevAttrManagedMemory) == 0) {
    return status{.code = errc::unsupported,
                  .where = where,
                  .text = "this GPU or its driver has no managed memory"};
  }
  const bool concurrent = gpu.attribute(cudaDevAttrConcurrentManagedAccess) != 0;
  std::unique_ptr<slab_source> made(new (std::nothrow) managed_source(gpu, concurrent));
  if (made == nullptr) {
    return status{.code = errc::out_of_memory, .where = where};
  }
  return made;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
