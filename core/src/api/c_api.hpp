// SPDX-License-Identifier: Apache-2.0
//
// Shared by the files of the C interface: the pool's handle, and conversions between the values of
// the C and the C++ interface. The C interface is a second front door beside pool.cpp, on the same
// pool_core.
#pragma once

#include "pool/pool_core.hpp"
#include <tidepool.h>
#include <tidepool/access.hpp>
#include <tidepool/c_interop.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// An observer that calls C functions.
class c_observer;

/// A predictor that calls a C function (c_access.cpp).
class c_predictor final : public access_predictor {
 public:
  void observe(const access_batch& batch) noexcept override;

  tidepool_access_predictor calls{};  // written while no other thread records
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool

struct tidepool_pool {
  tidepool_pool();
  ~tidepool_pool();
  tidepool_pool(const tidepool_pool&) = delete;
  tidepool_pool& operator=(const tidepool_pool&) = delete;

  tidepool::detail::pool_core* core = nullptr;
  tidepool_pool_options options{};  // the callbacks; written before core is made
  std::mutex observers_mutex;
  // All observers that were ever attached, because calls into a detached one may still be running.
  std::vector<std::unique_ptr<tidepool::detail::c_observer>> observers;  // guarded by the mutex
  tidepool::detail::c_predictor predictor;
};

namespace tidepool {
inline namespace v0 {
namespace detail {

inline tidepool_status fail(errc code, const char* text = nullptr) noexcept {
  return record_error(status{.code = code, .text = text});
}
inline tidepool_status null_argument() noexcept {
  return fail(errc::invalid_argument, "a null argument");
}
inline tidepool_status bad_struct() noexcept {
  return fail(errc::invalid_argument,
              "the size of a struct is not set, or a field of a later version is");
}
/// Converts the result of a function that returns an errc.
inline tidepool_status answer(errc code) noexcept {
  return code == errc::ok ? TIDEPOOL_OK : fail(code);
}

/// Does the caller's struct say its size, so that an answer may be written to it?
template <class T>
[[nodiscard]] bool is_writable(const T* out) noexcept {
  static_assert(sizeof(T) % 8 == 0);
  return is_c_size(out->size);
}
/// Writes as much as the caller has room for. Pre: is_writable(out).
template <class T>
void write_c_struct(const T& from, T* out) noexcept {
  const std::size_t size = out->size;
  auto* const bytes = reinterpret_cast<unsigned char*>(out);
  std::memcpy(bytes, &from, std::min(size, sizeof(T)));
  if (size > sizeof(T)) {
    std::memset(bytes + sizeof(T), 0, size - sizeof(T));
  }
  std::memcpy(bytes, &size, sizeof size);
}

/// Writes text to the caller's buffer and returns its length, in the manner of snprintf.
inline std::size_t write_text(std::string_view text, char* buffer, std::size_t size) noexcept {
  if (size != 0) {
    const std::size_t length = std::min(text.size(), size - 1);
    std::memcpy(buffer, text.data(), length);
    buffer[length] = '\0';
  }
  return text.size();
}
/// Returns the text as a C string. Pre: it ends with a zero or is empty.
[[nodiscard]] inline const char* c_string(std::string_view text) noexcept {
  return text.data() == nullptr ? "" : text.data();
}

// The C enumeration begins with automatic, which is 255 in C++.
[[nodiscard]] constexpr lifecycle lifecycle_from_c(tidepool_lifecycle state) noexcept {
  return static_cast<lifecycle>(static_cast<std::uint8_t>(state - 1));
}
[[nodiscard]] constexpr tidepool_lifecycle to_c(lifecycle state) noexcept {
  return static_cast<tidepool_lifecycle>(static_cast<std::uint8_t>(state) + 1);
}
static_assert(lifecycle_from_c(TIDEPOOL_LIFECYCLE_AUTOMATIC) == lifecycle::automatic);
static_assert(lifecycle_from_c(TIDEPOOL_LIFECYCLE_EVICTED) == lifecycle::evicted);
static_assert(to_c(lifecycle::automatic) == TIDEPOOL_LIFECYCLE_AUTOMATIC);

[[nodiscard]] inline bool read_stream(const tidepool_stream& from, stream_ref& to) noexcept {
  to = {from.handle, static_cast<stream_kind>(from.kind), from.number};
  return from.kind <= TIDEPOOL_STREAM_PER_THREAD;
}
[[nodiscard]] inline tidepool_stream to_c(const stream_ref& stream) noexcept {
  return {stream.handle, static_cast<std::uint32_t>(stream.kind), stream.number};
}
[[nodiscard]] tidepool_allocation_options to_c(const allocation_options& options) noexcept;
[[nodiscard]] tidepool_tensor_info to_c(const tensor_info& info) noexcept;
[[nodiscard]] tidepool_trim_report to_c(const trim_report& report) noexcept;

// The caller need not want a report; if it passes one, the struct must be writable.
template <class T>
[[nodiscard]] bool is_writable_if_any(const T* report) noexcept {
  return report == nullptr || is_writable(report);
}
/// The first check of a function that writes its answer to `out`: is there a pool, and is the
/// struct writable?
template <class T>
[[nodiscard]] tidepool_status check_answer(const tidepool_pool* pool, const T* out) noexcept {
  return pool == nullptr || out == nullptr ? null_argument()
         : is_writable(out)                ? TIDEPOOL_OK
                                           : bad_struct();
}
/// The same where the caller may not want the report.
template <class T>
[[nodiscard]] tidepool_status check_report(const tidepool_pool* pool, const T* report) noexcept {
  return pool == nullptr              ? null_argument()
         : is_writable_if_any(report) ? TIDEPOOL_OK
                                      : bad_struct();
}
inline tidepool_status unknown_device(device where) noexcept {
  return record_error(status{.code = errc::unknown_device, .where = where});
}
/// Writes the text that make() returns, in the manner of snprintf. make() may throw.
template <class F>
[[nodiscard]] std::size_t write_made_text(const tidepool_pool* pool, char* buffer, std::size_t size,
                                          F&& make) noexcept {
  if (pool == nullptr || (buffer == nullptr && size != 0)) {
    (void)null_argument();
    return 0;
  }
  try {
    return write_text(make(), buffer, size);
  } catch (const std::exception&) {
    (void)fail(errc::out_of_memory, "writing a text");
    return 0;
  }
}

// In c_debug.cpp; the context is the pool's handle.
void call_misuse_handler(const misuse_report& report, void* context);
[[nodiscard]] bool has_valid_debug_modes(const tidepool_pool_options& options) noexcept;
[[nodiscard]] debug_options debug_options_of(tidepool_pool& handle) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
