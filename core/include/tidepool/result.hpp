// SPDX-License-Identifier: Apache-2.0
//
// Errors as values: errc, status and result<T>. A status carries numbers and never allocates; only
// to_string, which makes a sentence of it, does. result<T> has the functions of std::expected that
// the library uses, and will be replaced by it one day.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/export.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace tidepool {
inline namespace v0 {

/// What went wrong. Values are stable (C ABI, traces).
enum class errc : std::int32_t {
  ok = 0,
  out_of_memory = 1,        ///< the device or the system has no more
  over_budget = 2,          ///< a limit set by the user would be passed
  invalid_argument = 3,     ///< a size, alignment, category, name or option is not allowed
  unknown_device = 4,       ///< no backend of this pool serves that device
  stale_id = 5,             ///< the tensor is gone: freed, freed twice or never made here
  key_in_use = 6,           ///< a live tensor already has this key
  not_found = 7,            ///< no live tensor has this key or this address
  unsupported = 8,          ///< the backend cannot do this
  backend_unavailable = 9,  ///< built without it, or no device present
  device_lost = 10,         ///< a sticky device error: every later call fails with it
  driver_error = 11,        ///< a system or driver call failed: see native
  closed = 12,              ///< the pool is closed
  too_many = 13,            ///< a table is full: pools, tensors, references, streams, names
  stream_captures = 14,     ///< the stream is being captured into a graph: use a capture_scope
};

/// A short constant text for a code, e.g. "out of memory". Static storage.
[[nodiscard]] TIDEPOOL_EXPORT const char* describe(errc code) noexcept;

/// An error code with its numbers. Trivially copyable; copying never allocates.
struct status {
  errc code = errc::ok;
  std::int32_t native = 0;     ///< errno or the driver's code, 0: none
  std::size_t requested = 0;   ///< bytes asked for, 0: not about bytes
  device where = {};           ///< the device concerned
  const char* text = nullptr;  ///< static text with more detail, or null

  [[nodiscard]] constexpr bool ok() const noexcept { return code == errc::ok; }
};

/// A sentence with all numbers of the status. Allocates.
[[nodiscard]] TIDEPOOL_EXPORT std::string to_string(const status& why);

/// A value or the reason why there is none.
template <class T>
class [[nodiscard]] result {
  static_assert(!std::is_reference_v<T> && !std::is_same_v<std::remove_cv_t<T>, status>);

 public:
  using value_type = T;
  using error_type = status;

  result(T value) noexcept(std::is_nothrow_move_constructible_v<T>)  // NOLINT: implicit on purpose
      : has_value_(true) {
    ::new (static_cast<void*>(&value_)) T(std::move(value));
  }
  /// Pre: !why.ok().
  result(const status& why) noexcept : has_value_(false), error_(why) {}   // NOLINT: implicit
  result(errc code) noexcept : has_value_(false), error_{.code = code} {}  // NOLINT: implicit

  result(const result& other) requires std::is_copy_constructible_v<T>
      : has_value_(other.has_value_) {
    if (has_value_) {
      ::new (static_cast<void*>(&value_)) T(other.value_);
    } else {
      ::new (static_cast<void*>(&error_)) status(other.error_);
    }
  }
  result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
      : has_value_(other.has_value_) {
    if (has_value_) {
      ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
    } else {
      ::new (static_cast<void*>(&error_)) status(other.error_);
    }
  }
  result& operator=(result other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    this->~result();
    return *::new (static_cast<void*>(this)) result(std::move(other));
  }
  ~result() {
    if (has_value_) {
      value_.~T();
    }
  }

  [[nodiscard]] bool has_value() const noexcept { return has_value_; }
  [[nodiscard]] explicit operator bool() const noexcept { return has_value_; }
  /// Pre: has_value().
  [[nodiscard]] T& value() & noexcept { return value_; }
  [[nodiscard]] const T& value() const& noexcept { return value_; }
  [[nodiscard]] T&& value() && noexcept { return std::move(value_); }
  [[nodiscard]] T& operator*() & noexcept { return value_; }
  [[nodiscard]] const T& operator*() const& noexcept { return value_; }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(value_); }
  [[nodiscard]] T* operator->() noexcept { return &value_; }
  [[nodiscard]] const T* operator->() const noexcept { return &value_; }
  /// The reason; errc::ok when there is a value.
  [[nodiscard]] status error() const noexcept { return has_value_ ? status{} : error_; }

 private:
  bool has_value_;
  union {
    T value_;
    status error_;
  };
};

}  // namespace v0
}  // namespace tidepool
