// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite on the CPU backend, with each setting of huge pages.
#include "conformance.hpp"
#include <tidepool/cpu/backend.hpp>

namespace tidepool::test {
namespace {

[[nodiscard]] backend_case cpu_case(std::string name, cpu::backend_options options) {
  // ThreadSanitizer leaves little address space.
  options.arena_bytes = std::size_t{1} << 30;
  return {std::move(name), [options] { return cpu::make_backend(options); }};
}

INSTANTIATE_TEST_SUITE_P(
    cpu, BackendConformance,
    ::testing::Values(cpu_case("automatic", {.huge_pages = cpu::huge_pages::automatic}),
                      cpu_case("never", {.huge_pages = cpu::huge_pages::never}),
                      cpu_case("always", {.huge_pages = cpu::huge_pages::always}),
                      cpu_case("node0", {.device = device::cpu(0)})),
    name_of_case);

}  // namespace
}  // namespace tidepool::test
