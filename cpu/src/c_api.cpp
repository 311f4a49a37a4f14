// SPDX-License-Identifier: Apache-2.0
//
// The CPU backend's factory for C.
#include <tidepool/c_interop.hpp>
#include <tidepool/cpu.h>
#include <tidepool/cpu/backend.hpp>

#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cpu {
namespace {

[[nodiscard]] tidepool_status refuse(const char* text) noexcept {
  return record_error(status{.code = errc::invalid_argument, .text = text});
}

}  // namespace
}  // namespace cpu
}  // namespace v0
}  // namespace tidepool

using namespace tidepool;  // NOLINT: the function below is outside of all namespaces

tidepool_status tidepool_cpu_backend_create(const tidepool_cpu_backend_options* options,
                                            tidepool_backend** out) {
  if (out == nullptr) {
    return cpu::refuse("a null argument");
  }
  *out = nullptr;
  tidepool_cpu_backend_options read{};
  if (options != nullptr && !detail::read_c_struct(options, read)) {
    return cpu::refuse("the size of a struct is not set, or a field of a later version is");
  }
  if (read.huge_pages > TIDEPOOL_CPU_HUGE_PAGES_ALWAYS) {
    return cpu::refuse("no such choice of huge pages");
  }
  if (read.numa_node >= device::any_node || (read.on_one_node == 0 && read.numa_node != 0)) {
    return cpu::refuse("numa_node must be 0..254, and on_one_node not 0 with it");
  }
  cpu::backend_options wanted;
  if (read.on_one_node != 0) {
    wanted.device = device::cpu(static_cast<std::uint8_t>(read.numa_node));
  }
  if (read.arena_bytes != 0) {
    wanted.arena_bytes = read.arena_bytes;
  }
  if (read.decay_ticks != 0) {
    wanted.decay_ticks = read.decay_ticks == TIDEPOOL_CPU_NO_DECAY ? 0 : read.decay_ticks;
  }
  wanted.faults.fail_call = read.fail_call;
  wanted.faults.fail_every = read.fail_every;
  if (read.exhaust_at != 0) {
    wanted.faults.exhaust_at = read.exhaust_at;
  }
  wanted.huge_pages = static_cast<cpu::huge_pages>(read.huge_pages);
  result<std::unique_ptr<backend>> made = cpu::try_make_backend(wanted);
  if (!made) {
    return record_error(made.error());
  }
  *out = to_c(std::move(*made));
  return TIDEPOOL_OK;
}
