// SPDX-License-Identifier: Apache-2.0
//
// A recursive-descent parser for the PTX that nvcc emits, inline assembly included. It does not
// know opcodes: what an instruction means is the decoder's business. No shared state.
#include "machine/ptx_cursor.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace cudasim::ptx {
namespace {

std::vector<std::string> split_at_dots(std::string_view word) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t end = word.find('.'); end != word.npos; end = word.find('.', begin)) {
    parts.emplace_back(word.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.emplace_back(word.substr(begin));
  return parts;
}

// Newer text may hold what this parser misreads; 13.0's nvcc writes 9.0.
constexpr int newest_version = 99;

class parser : private cursor {
 public:
  explicit parser(std::string_view text) : cursor(text) {}

  program run() {
    while (!at_end()) {
      top_level();
    }
    if (program_.version == 0) {
      fail("no .version directive: this is no PTX");
    }
    return std::move(program_);
  }

 private:
  void top_level() {
    if (accept(".version")) {
      version();
    } else if (accept(".target")) {
      do {
        target(identifier());
      } while (accept(","));
    } else if (accept(".address_size")) {
      number();
    } else if (is(".file") || is(".loc")) {
      skip_line();
    } else if (accept(".section")) {
      skip_past("{");
      skip_past("}");
    } else if (accept(".alias")) {
      skip_past(";");
    } else {
      definition();
    }
  }

  // sm_80, sm_90a; what else may stand there says nothing of the architecture.
  void target(const std::string& name) {
    if (name.rfind("sm_", 0) == 0) {
      program_.architecture = std::atoi(name.c_str() + 3);
    }
  }

  void version() {
    if (current().form != token::kind::number) {
      fail("expected a version");
    }
    const std::string text(tokens_[at_++].text);
    const std::size_t dot = text.find('.');
    const int major = std::atoi(text.c_str());
    program_.version = 10 * major + (dot == text.npos ? 0 : std::atoi(text.c_str() + dot + 1));
    if (program_.version < 10 || program_.version > newest_version) {
      fail("PTX version " + text + " is not known (1.0 to 9.9 are)");
    }
  }

  void definition() {
    bool external = false;
    while (is(".visible") || is(".extern") || is(".weak") || is(".common")) {
      external |= tokens_[at_++].text == ".extern";
    }
    if (is(".entry") || is(".func")) {
      parse_function();
      return;
    }
    if (!is_directive()) {
      fail("expected a directive");
    }
    for (variable& made : declaration(external)) {
      program_.variables.push_back(std::move(made));
    }
  }

  // .space [.align n] [.attribute(..)] [.v2] .type name[n], ... [= initial] ;
  std::vector<variable> declaration(bool external) {
    variable pattern;
    pattern.external = external;
    prefix(pattern);
    std::vector<variable> made;
    do {
      made.push_back(pattern);
      declarator(made.back());
    } while (accept(","));
    expect(";");
    return made;
  }

  void prefix(variable& made) {
    std::uint64_t width = 1;
    while (is_directive()) {
      const std::string word = identifier().substr(1);
      if (word == "align") {
        made.alignment = number();
      } else if (word == "attribute") {
        expect("(");
        made.managed |= is(".managed");
        skip_past(")");
      } else if (word == "v2" || word == "v4") {
        width = static_cast<std::uint64_t>(word[1] - '0');
      } else if (word == "ptr") {
        while (is(".global") || is(".shared") || is(".const") || is(".local")) {
          ++at_;
        }
      } else if (const type named = type_named(word); named != type::none) {
        made.element = named;
      } else if (word == "texref" || word == "samplerref" || word == "surfref") {
        made.element = type::b64;
      } else {
        made.space = word;
      }
    }
    made.count = width;
  }

  void declarator(variable& made) {
    made.name = identifier();
    if (made.alignment == 0) {
      made.alignment = static_cast<std::uint64_t>(std::max(1, size_of(made.element))) * made.count;
    }
    while (accept("[")) {
      if (accept("]")) {
        made.count = 0;
        continue;
      }
      made.count *= number();
      expect("]");
    }
    if (accept("=")) {
      initializer(made.initial);
    }
    if (made.count == 0 && !made.initial.empty()) {
      made.count = made.initial.size();
    }
  }

  void initializer(std::vector<operand>& values) {
    if (accept("{")) {
      if (accept("}")) {
        return;
      }
      do {
        initializer(values);
      } while (accept(","));
      expect("}");
      return;
    }
    if (current().form != token::kind::identifier) {
      values.push_back(parse_operand());
      return;
    }
    operand address{.form = operand::kind::address};
    if (accept("generic")) {
      expect("(");
      address.name = identifier();
      expect(")");
    } else {
      address.name = identifier();
    }
    if (accept("+")) {
      address.bits = number();
    }
    values.push_back(std::move(address));
  }

  std::vector<variable> parameters() {
    std::vector<variable> made;
    expect("(");
    if (accept(")")) {
      return made;
    }
    do {
      made.emplace_back();
      prefix(made.back());
      declarator(made.back());
    } while (accept(","));
    expect(")");
    return made;
  }

  void parse_function() {
    function made;
    made.is_entry = identifier() == ".entry";
    if (is("(")) {
      made.results = parameters();
    }
    made.name = identifier();
    if (is("(")) {
      made.parameters = parameters();
    }
    while (is_directive()) {
      const std::string word = identifier();
      std::uint64_t threads = 1;
      if (current().form == token::kind::number) {
        do {
          threads *= number();
        } while (accept(","));
      }
      if (word == ".maxntid" || word == ".reqntid") {
        made.max_threads = static_cast<int>(std::min<std::uint64_t>(threads, 1024));
      }
    }
    if (accept(";")) {
      program_.functions.emplace(made.name, made);
      return;
    }
    made.is_defined = true;
    function_ = &made;
    scopes_.assign(1, {});
    expect("{");
    block();
    scopes_.clear();
    program_.functions[made.name] = std::move(made);
  }

  // After '{', through '}'.
  void block() {
    if (scopes_.size() > 1) {
      declare_labels();
    }
    while (!accept("}")) {
      if (at_end()) {
        fail("a block without an end");
      }
      if (accept("{")) {
        scopes_.emplace_back();
        block();
        scopes_.pop_back();
      } else if (accept(";")) {
        continue;
      } else if (current().form == token::kind::identifier && following().text == ":") {
        label();
      } else if (is_directive()) {
        directive();
      } else {
        instruction();
      }
    }
  }

  // Labels may be used before they are defined.
  void declare_labels() {
    std::size_t depth = 0;
    for (std::size_t i = at_; i + 1 < tokens_.size(); ++i) {
      if (tokens_[i].text == "{") {
        ++depth;
      } else if (tokens_[i].text == "}") {
        if (depth-- == 0) {
          return;
        }
      } else if (depth == 0 && tokens_[i].form == token::kind::identifier &&
                 tokens_[i + 1].text == ":") {
        declare(std::string(tokens_[i].text));
      }
    }
  }

  void label() {
    const std::string name = resolve(identifier());
    expect(":");
    if (accept(".branchtargets")) {
      std::vector<std::string>& targets = function_->branch_targets[name];
      do {
        targets.push_back(resolve(identifier()));
      } while (accept(","));
      expect(";");
    } else if (accept(".callprototype")) {
      skip_past(";");
    } else {
      function_->body.emplace_back().label = name;
    }
  }

  void directive() {
    if (is(".pragma")) {
      skip_past(";");
    } else if (is(".loc") || is(".file")) {
      skip_line();
    } else if (accept(".reg")) {
      registers();
    } else {
      const bool external = accept(".extern");
      for (variable& made : declaration(external)) {
        made.name = declare(made.name);
        function_->variables.push_back(std::move(made));
      }
    }
  }

  void registers() {
    variable pattern;
    prefix(pattern);
    do {
      const std::string name = identifier();
      if (!accept("<")) {
        function_->registers[declare(name)] = pattern.element;
        continue;
      }
      const std::uint64_t count = number();
      expect(">");
      for (std::uint64_t i = 0; i != count; ++i) {
        function_->registers[declare(name + std::to_string(i))] = pattern.element;
      }
    } while (accept(","));
    expect(";");
  }

  void instruction() {
    statement made;
    made.line = current().line;
    if (accept("@")) {
      made.guard_negated = accept("!");
      made.guard = resolve(identifier());
    }
    made.opcode = split_at_dots(identifier());
    if (!is(";")) {
      do {
        made.arguments.push_back(parse_operand());
      } while (accept(","));
    }
    expect(";");
    function_->body.push_back(std::move(made));
  }

  program program_;
  function* function_ = nullptr;
};

}  // namespace

program parse(std::string_view text) {
  return parser(text).run();
}

}  // namespace cudasim::ptx
