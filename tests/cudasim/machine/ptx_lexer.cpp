// SPDX-License-Identifier: Apache-2.0
//
// The lexer of PTX, and the names of its types. Knows no grammar.
#include "machine/ptx_lexer.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace cudasim::ptx {
namespace {

struct type_entry {
  std::string_view name;
  type value;
  int size;
};
constexpr std::array<type_entry, 19> types{{
    {"pred", type::pred, 0},   {"b8", type::b8, 1},     {"b16", type::b16, 2},
    {"b32", type::b32, 4},     {"b64", type::b64, 8},   {"b128", type::b128, 16},
    {"u8", type::u8, 1},       {"u16", type::u16, 2},   {"u32", type::u32, 4},
    {"u64", type::u64, 8},     {"s8", type::s8, 1},     {"s16", type::s16, 2},
    {"s32", type::s32, 4},     {"s64", type::s64, 8},   {"f16", type::f16, 2},
    {"f16x2", type::f16x2, 4}, {"bf16", type::bf16, 2}, {"f32", type::f32, 4},
    {"f64", type::f64, 8},
}};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%' ||
         c == '.';
}

class lexer {
 public:
  explicit lexer(std::string_view text) : text_(text) {}

  std::vector<token> run() {
    std::vector<token> tokens;
    tokens.reserve(text_.size() / 4);
    for (skip_blanks(); at_ < text_.size(); skip_blanks()) {
      tokens.push_back(next());
    }
    tokens.push_back({.line = line_});
    return tokens;
  }

 private:
  [[nodiscard]] char look(std::size_t ahead) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  void skip_blanks() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        ++line_;
        ++at_;
      } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
        ++at_;
      } else if (c == '/' && look(1) == '/') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == '/' && look(1) == '*') {
        const std::size_t end = text_.find("*/", at_ + 2);
        if (end == std::string_view::npos) {
          fail("a comment without an end");
        }
        for (; at_ != end; ++at_) {
          line_ += text_[at_] == '\n' ? 1 : 0;
        }
        at_ += 2;
      } else {
        return;
      }
    }
  }

  token next() {
    token made{.line = line_};
    const std::size_t begin = at_;
    const char c = text_[at_];
    if (is_digit(c)) {
      made.form = token::kind::number;
      number(made);
    } else if (is_word(c)) {
      made.form = token::kind::identifier;
      while (at_ < text_.size() && (is_word(text_[at_]) || skips_scope())) {
        ++at_;
      }
    } else if (c == '"') {
      made.form = token::kind::string;
      const std::size_t end = text_.find('"', at_ + 1);
      if (end == std::string_view::npos) {
        fail("a string without an end");
      }
      made.text = text_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
      return made;
    } else {
      made.form = token::kind::punctuation;
      ++at_;
    }
    made.text = text_.substr(begin, at_ - begin);
    return made;
  }

  // "shared::cta" is one word: steps over the first colon of a pair.
  bool skips_scope() {
    if (look(0) != ':' || look(1) != ':') {
      return false;
    }
    ++at_;
    return true;
  }

  void number(token& made) {
    const char mark = look(1);
    if (text_[at_] == '0' && (mark == 'f' || mark == 'F') &&
        std::isxdigit(static_cast<unsigned char>(look(2))) != 0) {
      made.bits = digits(2, 8, 16);
      made.number_type = type::f32;
    } else if (text_[at_] == '0' && (mark == 'd' || mark == 'D')) {
      made.bits = digits(2, 16, 16);
      made.number_type = type::f64;
    } else if (text_[at_] == '0' && (mark == 'x' || mark == 'X')) {
      made.bits = digits(2, 16, 16);
    } else if (text_[at_] == '0' && (mark == 'b' || mark == 'B')) {
      made.bits = digits(2, 64, 2);
    } else {
      decimal(made);
    }
    if (look(0) == 'U') {
      ++at_;
    }
  }

  std::uint64_t digits(std::size_t skip, std::size_t most, int base) {
    const std::string_view part = text_.substr(std::min(at_ + skip, text_.size()), most);
    std::uint64_t value = 0;
    const auto result = std::from_chars(part.data(), part.data() + part.size(), value, base);
    if (result.ec != std::errc{}) {
      fail("a number without digits");
    }
    at_ += skip + static_cast<std::size_t>(result.ptr - part.data());
    return value;
  }

  void decimal(token& made) {
    std::size_t end = at_;
    while (end < text_.size() && is_digit(text_[end])) {
      ++end;
    }
    if (end < text_.size() && text_[end] == '.') {
      ++end;
      while (end < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[end])) != 0)) {
        ++end;
      }
      const std::string copy(text_.substr(at_, end - at_));
      made.bits = std::bit_cast<std::uint64_t>(std::strtod(copy.c_str(), nullptr));
      made.number_type = type::f64;
      at_ = end;
      return;
    }
    const bool octal = text_[at_] == '0' && end - at_ > 1;
    made.bits = digits(0, end - at_, octal ? 8 : 10);
  }

  [[noreturn]] void fail(const char* what) const {
    throw std::runtime_error("PTX line " + std::to_string(line_) + ": " + what);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

int size_of(type wanted) {
  for (const type_entry& entry : types) {
    if (entry.value == wanted) {
      return entry.size;
    }
  }
  return 0;
}

bool is_signed(type t) {
  return t >= type::s8 && t <= type::s64;
}
bool is_float(type t) {
  return t >= type::f16;
}

type type_named(std::string_view name) {
  for (const type_entry& entry : types) {
    if (entry.name == name) {
      return entry.value;
    }
  }
  return type::none;
}

std::vector<token> tokenize(std::string_view text) {
  return lexer(text).run();
}

}  // namespace cudasim::ptx
