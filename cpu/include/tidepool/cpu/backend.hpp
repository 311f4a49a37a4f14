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

/// Faults that a test orders, for programs that must survive them: the backend behaves as if the
/// system had no more memory. Calls are the backend's memory calls (mmap, munmap, mprotect,
/// madvise, mbind), numbered from 1 in the order in which it makes them, those while it is made
/// included.
struct fault_options {
  std::uint64_t fail_call = 0;        ///< this call fails with ENOMEM; 0: none
  std::uint64_t fail_every = 0;       ///< so does each whose number this divides; 0: none
  std::size_t exhaust_at = SIZE_MAX;  ///< bytes: no more than this is backed, as without memory
};

struct backend_options {
  tidepool::device device = device::cpu();  ///< cpu() or cpu(node)
  cpu::huge_pages huge_pages = cpu::huge_pages::automatic;
  /// Address space reserved at a time, up to 4 TiB; where the system refuses, it is halved down to
  /// 64 MiB. Two arenas are reserved from the start: one for blocks up to 64 KiB, one for all
  /// others. Choose less where addresses are dear (qemu-user keeps a word for each page of them).
  /// The environment may replace the default: TIDEPOOL=arena_bytes=BYTES.
  std::size_t arena_bytes = std::size_t{64} << 30;
  /// Memory that stays free for this many calls of pool_control::tick goes back to the system. 0:
  /// only trim gives memory back.
  std::uint32_t decay_ticks = 16;
  /// The environment may replace what is left at its default: TIDEPOOL=fail_call=N, fail_every=N,
  /// exhaust_at=BYTES. TIDEPOOL=no_huge_pages has the effect of huge_pages::never.
  fault_options faults = {};
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
