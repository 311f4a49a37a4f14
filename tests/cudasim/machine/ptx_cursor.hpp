// SPDX-License-Identifier: Apache-2.0
//
// What the parser stands on: its place in the tokens, the scopes of names, and operands. The
// grammar of directives and functions is the parser's. One thread.
#pragma once

#include "machine/ptx_lexer.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cudasim::ptx {

class cursor {
 public:
  explicit cursor(std::string_view text) : tokens_(tokenize(text)) {}

  [[nodiscard]] const token& current() const { return tokens_[at_]; }
  [[nodiscard]] const token& following() const {
    return tokens_[std::min(at_ + 1, tokens_.size() - 1)];
  }
  [[nodiscard]] bool at_end() const { return current().form == token::kind::end; }
  [[nodiscard]] bool is(std::string_view text) const {
    return current().text == text && current().form != token::kind::string && !at_end();
  }
  [[nodiscard]] bool is_directive() const {
    return current().form == token::kind::identifier && current().text.front() == '.';
  }
  bool accept(std::string_view text) {
    if (!is(text)) {
      return false;
    }
    ++at_;
    return true;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("PTX line " + std::to_string(current().line) + ": " + what + " at '" +
                             std::string(current().text) + "'");
  }
  void expect(std::string_view text) {
    if (!accept(text)) {
      fail("expected " + std::string(text));
    }
  }
  std::string identifier() {
    if (current().form != token::kind::identifier) {
      fail("expected a name");
    }
    return std::string(tokens_[at_++].text);
  }
  std::uint64_t number() {
    if (current().form != token::kind::number) {
      fail("expected a number");
    }
    return tokens_[at_++].bits;
  }
  void skip_past(std::string_view text) {
    while (!accept(text)) {
      if (at_end()) {
        fail("expected " + std::string(text));
      }
      ++at_;
    }
  }
  void skip_line() {
    const int line = current().line;
    while (current().line == line && !at_end()) {
      ++at_;
    }
  }

  // Names declared in an inner scope get a serial number: every inline assembly declares again.
  [[nodiscard]] std::string resolve(const std::string& name) const {
    for (std::size_t i = scopes_.size(); i-- != 0;) {
      if (const auto found = scopes_[i].find(name); found != scopes_[i].end()) {
        return found->second;
      }
    }
    return name;
  }
  std::string declare(const std::string& name) {
    if (scopes_.size() <= 1) {
      return name;
    }
    return scopes_.back()[name] = name + "#" + std::to_string(++serial_);
  }

  [[nodiscard]] operand parse_operand();

 protected:
  std::vector<token> tokens_;
  std::size_t at_ = 0;
  std::vector<std::map<std::string, std::string, std::less<>>> scopes_;

 private:
  void items_until(std::string_view end, operand& made) {
    if (!is(end)) {
      do {
        made.items.push_back(parse_operand());
      } while (accept(","));
    }
    expect(end);
  }
  void address(operand& made) {
    made.form = operand::kind::address;
    if (current().form == token::kind::number) {
      made.bits = number();
    } else {
      made.name = resolve(identifier());
      const bool added = accept("+");
      if (const bool subtracted = accept("-"); added || subtracted) {
        const std::uint64_t offset = number();
        made.bits = subtracted ? 0 - offset : offset;
      }
    }
    expect("]");
  }
  void immediate(operand& made) {
    const bool negative = accept("-");
    made.form = operand::kind::immediate;
    made.immediate_type = current().number_type;
    made.bits = number();
    if (!negative) {
      return;
    }
    if (made.immediate_type == type::f64) {
      made.bits ^= std::uint64_t{1} << 63;
    } else if (made.immediate_type == type::f32) {
      made.bits ^= std::uint64_t{1} << 31;
    } else {
      made.bits = 0 - made.bits;
    }
  }

  int serial_ = 0;
};

}  // namespace cudasim::ptx
