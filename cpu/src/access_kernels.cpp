// SPDX-License-Identifier: Apache-2.0
//
// The choice of access kernels, made once for the process. The order is that of measured speed
// (cpu/README.md).
#include "access_kernels.hpp"

#include "kernel_table.hpp"

#include <array>
#include <cstddef>

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

struct choice {
  std::array<const access_kernels*, 2> usable{};
  std::size_t count = 0;

  choice() noexcept {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0) {
      usable[count++] = &avx512_access_kernels;
    }
    if (__builtin_cpu_supports("avx2") != 0) {
      usable[count++] = &avx2_access_kernels;
    }
#elif defined(__aarch64__)
    usable[count++] = &neon_access_kernels;
#endif
  }
};

}  // namespace

std::span<const access_kernels* const> usable_access_kernels() noexcept {
  static const choice chosen;
  return std::span(chosen.usable).first(chosen.count);
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
