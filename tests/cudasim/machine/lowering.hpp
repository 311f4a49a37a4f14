// SPDX-License-Identifier: Apache-2.0
//
// From one PTX instruction to a handler: each family of instructions has a function that fills an
// instruction, found by opcode. Families know operands, not functions or control flow.
#pragma once

#include "machine/kernel.hpp"

#include <algorithm>
#include <initializer_list>
#include <string_view>

namespace cudasim {

// What lowering asks of the decoder.
class operand_source {
 public:
  operand_source() = default;
  operand_source(const operand_source&) = delete;
  operand_source& operator=(const operand_source&) = delete;
  virtual ~operand_source() = default;
  /// Bytes of a register's lane; 0 for predicates; -1 for immediates and symbols.
  virtual int width(const ptx::operand&) = 0;
  /// `bytes` of a lane; 0 for predicates.
  virtual place source(const ptx::operand&, int bytes) = 0;
  /// no_place for the sink '_'.
  virtual place destination(const ptx::operand&) = 0;
};

// One instruction on its way: the statement, its last two types, and helpers to fill the operands.
struct lowering {
  lowering(const ptx::statement& from, operand_source& operands, instruction& into);

  const ptx::statement& from;
  operand_source& operands;
  instruction& into;
  ptx::type type = ptx::type::none;    // the last one of the opcode
  ptx::type before = ptx::type::none;  // the one before it
  int bytes = 2;                       // of a lane of `type`

  [[nodiscard]] std::string_view opcode() const { return from.opcode[0]; }
  [[nodiscard]] bool has(std::string_view part) const { return from.has(part); }
  // Index of the first name that is part of the opcode; -1 if none is.
  [[nodiscard]] int which(std::initializer_list<std::string_view> names) const;

  void destination() { into.ref[0] = operands.destination(from.arguments.at(0)); }
  void second_destination() {
    if (const auto& second = from.arguments.at(0).second) {
      into.ref[1] = operands.destination(*second);
    }
  }
  void source(std::size_t field, std::size_t argument, int lane_bytes) {
    into.ref.at(field) = operands.source(from.arguments.at(argument), lane_bytes);
  }
  // d, then `sources` operands of the instruction's type; false if there is no handler.
  bool regular(handler run, std::size_t sources);
};

[[nodiscard]] inline int register_bytes(ptx::type t) {
  return std::max(2, ptx::size_of(t));
}

// Each fills `into` (not its guard, line or branch target); false if the form is not supported.
bool lower_arithmetic(lowering&);
bool lower_wide_arithmetic(lowering&);
bool lower_bits(lowering&);
bool lower_compare(lowering&);
bool lower_convert(lowering&);
bool lower_move(lowering&);
bool lower_memory(lowering&);
bool lower_atomic(lowering&);
bool lower_warp(lowering&);

/// Finds the family and lowers; false if the form is not supported.
bool lower(const ptx::statement&, operand_source&, instruction&);

/// Device printf: `immediate` and `target` are local offsets of the format's and the arguments'
/// addresses.
void device_print(warp&, const instruction&, lane_mask);

}  // namespace cudasim
