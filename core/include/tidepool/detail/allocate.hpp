// SPDX-License-Identifier: Apache-2.0
//
// The part of an allocation that is compiled into the caller: it chooses the library's entry point
// for the options. If the options are constants, the compiler makes the choice, and a plain
// allocation is one call. This is not for applications; pool.hpp includes it.
//
// Thread safety: every function may be called by any number of threads at once.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/options.hpp>
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>
#include <tidepool/tensor.hpp>

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {
/// Allocates an unnamed temporary. On failure id is 0 and data holds the errc as an integer.
[[nodiscard]] TIDEPOOL_EXPORT raw_tensor allocate_plain(pool_core* core, std::size_t bytes,
                                                        std::uint32_t device_bits) noexcept;
/// Allocates a plain tensor with a name or a temporary category; tag is name | category << 32.
[[nodiscard]] TIDEPOOL_EXPORT raw_tensor allocate_tagged(pool_core* core, std::size_t bytes,
                                                         std::uint32_t device_bits,
                                                         std::uint64_t tag) noexcept;
/// Allocates an unnamed temporary in the order of a stream other than the device's default one.
[[nodiscard]] TIDEPOOL_EXPORT raw_tensor allocate_on(pool_core* core, std::size_t bytes,
                                                     std::uint32_t device_bits,
                                                     const stream_ref& stream) noexcept;
/// The same with a name or a temporary category.
[[nodiscard]] TIDEPOOL_EXPORT raw_tensor allocate_tagged_on(
    pool_core* core, std::size_t bytes, device where, const allocation_options& options) noexcept;
/// Allocates with every option taken into account.
[[nodiscard]] TIDEPOOL_EXPORT raw_tensor allocate_general(
    pool_core* core, std::size_t bytes, device where, const allocation_options& options) noexcept;
[[nodiscard]] TIDEPOOL_EXPORT status failure_status(pool_core* core, raw_tensor failed,
                                                    std::size_t bytes, device where) noexcept;
[[noreturn]] TIDEPOOL_EXPORT void throw_failure(pool_core* core, raw_tensor failed,
                                                std::size_t bytes, device where);

// Inline, so that the compiler decides a call with constant options.
[[nodiscard]] inline raw_tensor allocate(pool_core* core, std::size_t bytes, device where,
                                         const allocation_options& options) noexcept {
  if (options.is_plain()) {
    const std::uint64_t tag = std::uint64_t{options.name.value()} |
                              std::uint64_t{static_cast<std::uint8_t>(options.category)} << 32;
    if (!options.stream.is_default()) {
      return tag == 0 ? allocate_on(core, bytes, where.bits(), options.stream)
                      : allocate_tagged_on(core, bytes, where, options);
    }
    return tag == 0 ? allocate_plain(core, bytes, where.bits())
                    : allocate_tagged(core, bytes, where.bits(), tag);
  }
  return allocate_general(core, bytes, where, options);
}
}  // namespace detail

}  // namespace v0
}  // namespace tidepool
