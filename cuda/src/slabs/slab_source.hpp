// SPDX-License-Identifier: Apache-2.0
//
// slab_source: where the memory of one device comes from: a driver pool, cudaMalloc, page-locked or
// managed host memory, mapped address space. It hands out whole slabs, seldom, and knows neither
// blocks nor streams of users; device_memory cuts the slabs and keeps the order of streams.
//
// Thread safety: every function may be called by several threads at once, without any lock of the
// backend held. No function throws. All may be called while some stream of the process captures a
// graph, and leave nothing in it: see outside_captures.
#pragma once

#include <tidepool/backend.hpp>
#include <tidepool/device.hpp>
#include <tidepool/result.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace cuda {

class driver;

/// Contiguous memory from the driver or the system.
/// Invariant: data and bytes are multiples of 4096; bytes <= address_space_bytes.
struct slab {
  std::byte* data = nullptr;
  std::size_t bytes = 0;                ///< usable
  std::size_t address_space_bytes = 0;  ///< reserved at `data`: `extend` can go so far
  std::uint64_t cookie = 0;             ///< the source's own, comes back verbatim
};

class slab_source {
 public:
  slab_source() = default;
  slab_source(const slab_source&) = delete;
  slab_source& operator=(const slab_source&) = delete;
  /// Pre: every slab was released, or the driver no longer answers.
  virtual ~slab_source();

  /// The device served. Constant; `name` lives as long as the source.
  [[nodiscard]] virtual const device_description& description() const noexcept = 0;

  /// Lengths of slabs are multiples of this, a power of two >= 4096. It is also what is claimed
  /// from the budget.
  [[nodiscard]] virtual std::size_t granularity() const noexcept = 0;
  /// Slabs that many blocks share have between these lengths; a longer request gets one of its own.
  /// Default: 2 MiB and 32 MiB.
  [[nodiscard]] virtual std::size_t smallest_slab() const noexcept;
  [[nodiscard]] virtual std::size_t largest_slab() const noexcept;

  /// A slab of exactly `bytes` bytes that every stream may use at once, without waiting for
  /// anything. Pre: a multiple of granularity(), claimed. Errors: out_of_memory, device_lost,
  /// driver_error.
  [[nodiscard]] virtual result<slab> allocate(std::size_t bytes) noexcept = 0;

  /// Gives a whole slab back. Pre: all work on it is known to be complete. On an error the slab
  /// stays as it was, and is released again later.
  [[nodiscard]] virtual status release(const slab& what) noexcept = 0;

  /// Makes the slab `bytes` long in place and answers it as it is now; the new part is for every
  /// stream at once, as a new slab is. Pre: a multiple of granularity(), above what.bytes, claimed.
  /// Errors: as allocate; out_of_memory too when the addresses behind it are not reserved. Default:
  /// unsupported.
  [[nodiscard]] virtual result<slab> extend(const slab& what, std::size_t bytes) noexcept;

  /// Bytes of the GPU that the driver holds for this source, whose slabs are `in_slabs` long
  /// together. Default: in_slabs.
  [[nodiscard]] virtual std::size_t held_bytes(std::size_t in_slabs) const noexcept;

  /// As in backend. Defaults: 0, unsupported, unsupported. `stream` is a cudaStream_t.
  virtual std::size_t populate(std::span<const block> blocks, unsigned threads) noexcept;
  [[nodiscard]] virtual status prefetch(std::span<const std::byte> range, device to,
                                        void* stream) noexcept;
  [[nodiscard]] virtual status advise(std::span<const std::byte> range,
                                      const advice_request& request) noexcept;
};

/// One maker per kind, each in a file of its own. `gpu` outlives the source.
/// Errors: unsupported where the device or driver cannot, else what the driver says.
using made_source = result<std::unique_ptr<slab_source>>;
[[nodiscard]] made_source make_pooled_source(driver& gpu) noexcept;    // device::cuda(i)
[[nodiscard]] made_source make_plain_source(driver& gpu) noexcept;     // ... with plain
[[nodiscard]] made_source make_growable_source(driver& gpu) noexcept;  // ... with growable
[[nodiscard]] made_source make_pinned_source(driver& gpu, device where) noexcept;
[[nodiscard]] made_source make_managed_source(driver& gpu) noexcept;

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
