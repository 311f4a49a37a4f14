// SPDX-License-Identifier: Apache-2.0
//
// The words of the text form, shared by text_dump.cpp, text_fields.hpp and text_pack.cpp so that
// they cannot differ.
#pragma once

#include "trace/event.hpp"
#include "trace/wire.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tidepool::bench::trace {

struct word {
  std::string_view text;
  unsigned value;
};

/// The operations whose word is their kind; touches are named after their access instead.
inline constexpr std::array<word, 12> kind_words{{
    {"alloc", static_cast<unsigned>(event_kind::alloc)},
    {"free", static_cast<unsigned>(event_kind::free)},
    {"retag", static_cast<unsigned>(event_kind::retag)},
    {"sync", static_cast<unsigned>(event_kind::sync)},
    {"trim", static_cast<unsigned>(event_kind::trim)},
    {"begin", static_cast<unsigned>(event_kind::mark_begin)},
    {"end", static_cast<unsigned>(event_kind::mark_end)},
    {"name", static_cast<unsigned>(event_kind::define_name)},
    {"category", static_cast<unsigned>(event_kind::define_category)},
    {"device", static_cast<unsigned>(event_kind::define_device)},
    {"comment", static_cast<unsigned>(event_kind::comment)},
    {"touch", static_cast<unsigned>(event_kind::touch)},  // with an access that has no word
}};

inline constexpr std::array<word, 3> access_words{{{"read", 1}, {"write", 2}, {"read_write", 3}}};
inline constexpr std::array<word, 3> outcome_words{
    {{"ok", 0}, {"out_of_memory", 1}, {"ok_after_retry", 2}}};
inline constexpr std::array<word, 4> scope_words{
    {{"other", 0}, {"phase", 1}, {"layer", 2}, {"step", 3}}};
inline constexpr std::array<word, 2> clock_words{{{"logical", 0}, {"nanoseconds", 1}}};
inline constexpr std::array<word, 5> flag_words{{{"pinned", event_flags::pinned},
                                                 {"shared", event_flags::shared},
                                                 {"tracked", event_flags::tracked},
                                                 {"external", event_flags::external},
                                                 {"capture", event_flags::capture}}};

/// Empty if no word has that value.
template <std::size_t Size>
[[nodiscard]] constexpr std::string_view word_of(const std::array<word, Size>& words,
                                                 unsigned value) noexcept {
  for (const word& each : words) {
    if (each.value == value) {
      return each.text;
    }
  }
  return {};
}

template <std::size_t Size>
[[nodiscard]] constexpr std::optional<unsigned> value_of(const std::array<word, Size>& words,
                                                         std::string_view text) noexcept {
  for (const word& each : words) {
    if (each.text == text) {
      return each.value;
    }
  }
  return std::nullopt;
}

}  // namespace tidepool::bench::trace
