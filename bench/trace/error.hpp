// SPDX-License-Identifier: Apache-2.0
//
// Errors of the trace library, as values: nothing in bench/trace throws across its interface.
// An error names the place (byte offset, event number, or line of the text form) and the reason,
// so that a person with a damaged file knows where to look. `result<T>` follows the subset of
// std::expected that the code needs and gives way to it once compilers carry it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace tidepool::bench::trace {

enum class errc : std::uint8_t {
  io,             ///< the operating system refused (open, read, write)
  not_a_trace,    ///< the file does not begin with the magic
  wrong_version,  ///< a trace, but of a version this reader does not know
  truncated,      ///< the file ends before its footer
  damaged,        ///< a checksum, a count or a compressed frame does not fit
  unsupported,    ///< a required feature, chunk or event kind this reader does not know
  over_limit,     ///< a size above the limits of the format (wire.hpp)
  invalid,        ///< well-formed, but against the rules of the format
  syntax,         ///< text form: not JSON, an unknown key, a wrong type
  out_of_memory,  ///< the reader itself could not get memory
};

/// The name of `code`, e.g. "truncated"; never empty.
[[nodiscard]] const char* to_string(errc code) noexcept;

inline constexpr std::uint64_t no_position = ~std::uint64_t{0};

struct error {
  errc code = errc::invalid;
  std::uint64_t offset =
      no_position;                    ///< byte in the file: of the header, chunk or field concerned
  std::uint64_t event = no_position;  ///< number of the event, from 0, over the whole trace
  std::uint64_t line = no_position;   ///< line of the text form, from 1
  std::string reason;

  /// One line for people: "damaged at byte 340, event 12: ...".
  [[nodiscard]] std::string message() const;
};

/// A value or an error.
template <class T>
class [[nodiscard]] result {
 public:
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  result(trace::error failure) : state_(std::in_place_index<1>, std::move(failure)) {}

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  /// pre: has_value().
  [[nodiscard]] T& value() & noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] const T& value() const& noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] T&& value() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  [[nodiscard]] T& operator*() & noexcept { return value(); }
  [[nodiscard]] const T& operator*() const& noexcept { return value(); }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(*this).value(); }
  [[nodiscard]] T* operator->() noexcept { return &value(); }
  [[nodiscard]] const T* operator->() const noexcept { return &value(); }

  /// pre: !has_value().
  [[nodiscard]] const trace::error& error() const noexcept { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, trace::error> state_;
};

/// Success, or an error.
class [[nodiscard]] status {
 public:
  status() = default;
  status(trace::error failure) : failure_(std::move(failure)) {}

  [[nodiscard]] bool ok() const noexcept { return !failure_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }

  /// pre: !ok().
  [[nodiscard]] const trace::error& error() const noexcept { return *failure_; }

 private:
  std::optional<trace::error> failure_;
};

}  // namespace tidepool::bench::trace
