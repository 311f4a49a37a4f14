// SPDX-License-Identifier: Apache-2.0
//
// Splits PTX text into tokens. Directives, opcodes with their dots and register names are one
// identifier each. Tokens refer to the text, which has to outlive them.
#pragma once

#include "machine/ptx.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace cudasim::ptx {

struct token {
  enum class kind : std::uint8_t { identifier, number, string, punctuation, end };
  kind form = kind::end;
  std::string_view text{};
  std::uint64_t bits = 0;  // of a number
  type number_type = type::s64;
  int line = 0;
};

// The last token is of kind end. Throws std::runtime_error on a comment or string without an end.
[[nodiscard]] std::vector<token> tokenize(std::string_view text);

}  // namespace cudasim::ptx
