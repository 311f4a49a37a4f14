// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite on the smallest backend there can be. The one to clone for a new backend.
#include "../support/heap_backend.hpp"
#include "conformance.hpp"

namespace tidepool::test {
namespace {

heap_log log;  // outlives the cases' backends

INSTANTIATE_TEST_SUITE_P(
    heap, BackendConformance,
    ::testing::Values(
        backend_case{"heap", [] { return std::make_unique<heap_backend>(log); }},
        backend_case{"ordered",
                     [] { return std::make_unique<heap_backend>(log, device::user(1), 64, true); }},
        backend_case{"device256",
                     [] { return std::make_unique<heap_backend>(log, device::user(3), 256); }}),
    name_of_case);

}  // namespace
}  // namespace tidepool::test
