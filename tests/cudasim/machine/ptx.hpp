// SPDX-License-Identifier: Apache-2.0
//
// Syntax tree of a PTX module, as the parser leaves it: names are unique in their function (those
// of inner scopes are renamed), nothing is checked against the instruction set yet. Values only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cudasim::ptx {

enum class type : std::uint8_t {
  none,
  pred,
  b8,
  b16,
  b32,
  b64,
  b128,
  u8,
  u16,
  u32,
  u64,
  s8,
  s16,
  s32,
  s64,
  f16,
  f16x2,
  bf16,
  f32,
  f64,
};

[[nodiscard]] int size_of(type);  // bytes; 0 for pred and none
[[nodiscard]] bool is_signed(type);
[[nodiscard]] bool is_float(type);
[[nodiscard]] type type_named(std::string_view);  // "u32" -> u32; none if it names no type

struct operand {
  enum class kind : std::uint8_t { name, immediate, address, vector, list };
  kind form = kind::name;
  std::string name{};                 // of a name; base of an address, empty if that is absolute
  std::uint64_t bits = 0;             // of an immediate; offset of an address or a name
  type immediate_type = type::s64;    // f32 or f64 for literals of floating point
  bool negated = false;               // !p
  std::vector<operand> items{};       // of a vector or list
  std::shared_ptr<operand> second{};  // b of a|b
};

struct statement {
  std::string label;                // a label's definition, or else an instruction:
  std::vector<std::string> opcode;  // "ld.global.u32" -> {ld, global, u32}
  std::string guard;                // predicate register, or empty
  bool guard_negated = false;
  std::vector<operand> arguments;
  int line = 0;

  [[nodiscard]] bool has(std::string_view part) const {
    for (const std::string& word : opcode) {
      if (word == part) {
        return true;
      }
    }
    return false;
  }
};

struct variable {
  std::string name;
  std::string space;  // reg, param, global, const, shared or local
  type element = type::none;
  std::uint64_t count = 1;  // elements; 0 for an array of unknown length
  std::uint64_t alignment = 0;
  bool external = false;
  bool managed = false;
  std::vector<operand> initial;

  [[nodiscard]] std::uint64_t bytes() const {
    return static_cast<std::uint64_t>(size_of(element)) * count;
  }
};

struct function {
  std::string name;
  bool is_entry = false;
  bool is_defined = false;
  std::vector<variable> results;
  std::vector<variable> parameters;
  std::vector<variable> variables;  // shared and local ones, and parameters of calls
  std::map<std::string, type, std::less<>> registers;
  std::vector<statement> body;
  std::map<std::string, std::vector<std::string>, std::less<>> branch_targets;
  int max_threads = 0;
};

struct program {
  int version = 0;       // 10 * major + minor
  int architecture = 0;  // that it was made for
  std::vector<variable> variables;
  std::map<std::string, function, std::less<>> functions;
};

// Throws std::runtime_error with the line and what was expected there.
[[nodiscard]] program parse(std::string_view text);

}  // namespace cudasim::ptx
