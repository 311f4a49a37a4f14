// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend's factory. It exists in every build, so that user code needs no #ifdef: without
// CUDA it answers errc::backend_unavailable. No CUDA header is needed to include it.
#pragma once

#include <tidepool/backend.hpp>
#include <tidepool/export.hpp>
#include <tidepool/result.hpp>

#include <cstdint>
#include <memory>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// How a CUDA backend is set up. Leaving all out is always right.
struct backend_options {
  std::uint16_t ordinal = 0;  ///< the GPU, numbered as the CUDA runtime does
};

/// A backend for one GPU.
/// Errors: backend_unavailable, with a text that says why. Today always: this version has no CUDA
/// code, and the text is "built without CUDA ..." (cuda/README.md).
/// Thread safety: any thread, at any time.
[[nodiscard]] TIDEPOOL_EXPORT result<std::unique_ptr<backend>> try_make_backend(
    const backend_options& options = {}) noexcept;
/// The same; throws tidepool::error.
[[nodiscard]] TIDEPOOL_EXPORT std::unique_ptr<backend> make_backend(
    const backend_options& options = {});

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
