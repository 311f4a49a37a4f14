// SPDX-License-Identifier: Apache-2.0
//
// The CPU backend: host memory from arenas of address space, backed on use. For device::cpu(), or
// for one NUMA node.
#pragma once

#include <tidepool/backend.hpp>
#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/result.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace tidepool {
inline namespace v0 {
namespace cpu {

enum class huge_pages : std::uint8_t {
  automatic = 0,  ///< 2 MiB pages where they pay: arenas of blocks above 64 KiB
  never = 1,
  always = 2,
};

struct backend_options {
  tidepool::device device = device::cpu();  ///< cpu() or cpu(node)
  cpu::huge_pages huge_pages = cpu::huge_pages::automatic;
  /// Address space reserved at a time, up to 4 TiB; halved where the system refuses, at least
  /// 64 MiB. Twice this is reserved from the start: for blocks up to 64 KiB and for all others.
  std::size_t arena_bytes = std::size_t{64} << 30;
  /// Memory free for this many calls of pool::tick goes back to the system. 0: only by trim.
  std::uint32_t decay_ticks = 16;
};

/// A backend for host memory. errc::invalid_argument, errc::unknown_device (no such node),
/// errc::out_of_memory (no address space), errc::unsupported (the system's pages are not 4 KiB).
/// Its device's name says "(not bound)" where the system refused to prefer the node.
[[nodiscard]] TIDEPOOL_EXPORT result<std::unique_ptr<backend>> try_make_backend(
    const backend_options& options = {}) noexcept;
/// The same; throws error or out_of_memory.
[[nodiscard]] TIDEPOOL_EXPORT std::unique_ptr<backend> make_backend(
    const backend_options& options = {});

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
