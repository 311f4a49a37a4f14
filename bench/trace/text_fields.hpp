// SPDX-License-Identifier: Apache-2.0
//
// One line of the text form, key by key. Strict on purpose: an unknown key or a word of the wrong
// type is an error, because a misspelt key would otherwise be a field silently left at its default.
// Private to text_pack.cpp. One thread at a time.
#pragma once

#include "trace/error.hpp"
#include "trace/text_names.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace tidepool::bench::trace {

using json = nlohmann::json;

inline error syntax(std::string reason) {
  error failure;
  failure.code = errc::syntax;
  failure.reason = std::move(reason);
  return failure;
}

/// The keys of one line, taken one by one; what is left at the end was misspelt.
class fields {
 public:
  explicit fields(const json& object) : object_(object) {}

  [[nodiscard]] const json* take(const char* key) {
    const auto at = object_.find(key);
    if (at == object_.end()) {
      return nullptr;
    }
    taken_.insert(key);
    return &*at;
  }

  /// The number under `key`, or 0; a failure is remembered.
  template <class Integer>
  Integer number(const char* key) {
    const json* value = take(key);
    if (value == nullptr) {
      return 0;
    }
    if (!value->is_number_unsigned() ||
        value->get<std::uint64_t>() > std::numeric_limits<Integer>::max()) {
      fail(std::string("\"") + key + "\" is not a number from 0 to " +
           std::to_string(std::numeric_limits<Integer>::max()));
      return 0;
    }
    return static_cast<Integer>(value->get<std::uint64_t>());
  }

  /// The value of a word under `key`, or 0. Numbers stand for values without a word.
  template <std::size_t Size>
  std::uint8_t word_value(const char* key, const std::array<word, Size>& words) {
    const json* value = take(key);
    if (value == nullptr) {
      return 0;
    }
    if (value->is_string()) {
      if (const auto found = value_of(words, value->get_ref<const std::string&>())) {
        return static_cast<std::uint8_t>(*found);
      }
    } else if (value->is_number_unsigned()) {
      return number<std::uint8_t>(key);
    }
    fail(std::string("\"") + key + "\" has no value " + value->dump());
    return 0;
  }

  void fail(std::string reason) {
    if (!failure_) {
      failure_ = syntax(std::move(reason));
    }
  }

  /// The first failure, else a key that nobody took.
  [[nodiscard]] status finish() {
    if (failure_) {
      return *failure_;
    }
    for (const auto& [key, value] : object_.items()) {
      if (taken_.count(key) == 0) {
        return syntax("key \"" + key + "\" is unknown or has no place here");
      }
    }
    return {};
  }

 private:
  const json& object_;
  std::set<std::string, std::less<>> taken_;
  std::optional<error> failure_;
};

}  // namespace tidepool::bench::trace
