// SPDX-License-Identifier: Apache-2.0
//
// The factory of a library built without CUDA: an ordinary answer, no driver call, no state.
#include <tidepool/cuda/backend.hpp>

namespace tidepool {
inline namespace v0 {
namespace cuda {

result<std::unique_ptr<backend>> make_backend(const backend_options& options) noexcept {
  return status{.code = errc::backend_unavailable,
                .where = device::cuda(options.ordinal),
                .text = "built without CUDA: this version of tidepool has no CUDA backend yet"};
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
