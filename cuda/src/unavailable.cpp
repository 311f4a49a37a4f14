// SPDX-License-Identifier: Apache-2.0
//
// The factories of a library built without CUDA: an ordinary answer, no driver call, no state.
#include <tidepool/cuda/backend.hpp>
#include <tidepool/cuda/host_registration.hpp>
#include <tidepool/device.hpp>
#include <tidepool/error.hpp>
#include <tidepool/result.hpp>

#include <memory>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

status unavailable(const backend_options& options) noexcept {
  return {.code = errc::backend_unavailable,
          .where = device::cuda(options.ordinal),
          .text = "built without CUDA: this version of tidepool has no CUDA backend yet"};
}

}  // namespace

result<std::unique_ptr<backend>> try_make_backend(const backend_options& options) noexcept {
  return unavailable(options);
}

std::unique_ptr<backend> make_backend(const backend_options& options) {
  throw_status(unavailable(options));
}

result<host_registration> register_host(std::span<const std::byte> /*memory*/,
                                        const registration_options& options) noexcept {
  return unavailable({.ordinal = options.ordinal});
}

result<host_registration> register_host(std::span<std::byte> /*memory*/,
                                        const registration_options& options) noexcept {
  return unavailable({.ordinal = options.ordinal});
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
