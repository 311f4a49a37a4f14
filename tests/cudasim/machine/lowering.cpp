// SPDX-License-Identifier: Apache-2.0
//
// Which family lowers an opcode, and what all families share.
#include "machine/lowering.hpp"

#include <map>
#include <string>

namespace cudasim {
namespace {

using family = bool (*)(lowering&);

const std::map<std::string_view, family> families{
    {"add", lower_arithmetic},
    {"sub", lower_arithmetic},
    {"mul", lower_arithmetic},
    {"div", lower_arithmetic},
    {"rem", lower_arithmetic},
    {"min", lower_arithmetic},
    {"max", lower_arithmetic},
    {"abs", lower_arithmetic},
    {"neg", lower_arithmetic},
    {"sqrt", lower_arithmetic},
    {"rcp", lower_arithmetic},
    {"rsqrt", lower_arithmetic},
    {"sin", lower_arithmetic},
    {"cos", lower_arithmetic},
    {"ex2", lower_arithmetic},
    {"lg2", lower_arithmetic},
    {"tanh", lower_arithmetic},
    {"copysign", lower_arithmetic},
    {"fma", lower_arithmetic},
    {"sad", lower_arithmetic},
    {"mad", lower_wide_arithmetic},
    {"addc", lower_wide_arithmetic},
    {"subc", lower_wide_arithmetic},
    {"madc", lower_wide_arithmetic},
    {"dp4a", lower_wide_arithmetic},
    {"dp2a", lower_wide_arithmetic},
    {"and", lower_bits},
    {"or", lower_bits},
    {"xor", lower_bits},
    {"not", lower_bits},
    {"cnot", lower_bits},
    {"brev", lower_bits},
    {"shl", lower_bits},
    {"shr", lower_bits},
    {"popc", lower_bits},
    {"clz", lower_bits},
    {"bfind", lower_bits},
    {"bfe", lower_bits},
    {"bfi", lower_bits},
    {"bmsk", lower_bits},
    {"lop3", lower_bits},
    {"prmt", lower_bits},
    {"shf", lower_bits},
    {"fns", lower_bits},
    {"setp", lower_compare},
    {"set", lower_compare},
    {"selp", lower_compare},
    {"slct", lower_compare},
    {"testp", lower_compare},
    {"cvt", lower_convert},
    {"mov", lower_move},
    {"cvta", lower_move},
    {"isspacep", lower_move},
    {"ld", lower_memory},
    {"ldu", lower_memory},
    {"st", lower_memory},
    {"membar", lower_memory},
    {"fence", lower_memory},
    {"prefetch", lower_memory},
    {"prefetchu", lower_memory},
    {"discard", lower_memory},
    {"applypriority", lower_memory},
    {"griddepcontrol", lower_memory},
    {"nanosleep", lower_memory},
    {"atom", lower_atomic},
    {"red", lower_atomic},
    {"shfl", lower_warp},
    {"vote", lower_warp},
    {"match", lower_warp},
    {"redux", lower_warp},
    {"activemask", lower_warp},
    {"bar", lower_warp},
    {"barrier", lower_warp},
    {"trap", lower_warp},
    {"brkpt", lower_warp},
};

}  // namespace

lowering::lowering(const ptx::statement& statement, operand_source& source, instruction& in)
    : from(statement), operands(source), into(in) {
  for (std::size_t i = 1; i < from.opcode.size(); ++i) {
    if (const ptx::type named = ptx::type_named(from.opcode[i]); named != ptx::type::none) {
      before = type;
      type = named;
    }
  }
  bytes = register_bytes(type);
}

int lowering::which(std::initializer_list<std::string_view> names) const {
  int index = 0;
  for (const std::string_view name : names) {
    if (has(name)) {
      return index;
    }
    ++index;
  }
  return -1;
}

bool lowering::regular(handler run, std::size_t sources) {
  into.run = run;
  if (run == nullptr) {
    return false;
  }
  destination();
  for (std::size_t i = 1; i <= sources; ++i) {
    source(i, i, bytes);
  }
  return true;
}

bool lower(const ptx::statement& from, operand_source& operands, instruction& into) {
  const auto found = families.find(from.opcode[0]);
  if (found == families.end()) {
    return false;
  }
  lowering made(from, operands, into);
  const bool is_half =
      made.type == ptx::type::f16 || made.type == ptx::type::f16x2 || made.type == ptx::type::bf16;
  const bool moves = made.opcode() == "cvt" || made.opcode() == "mov";
  if ((is_half || made.has("sat")) && !moves) {
    return false;
  }
  return found->second(made);
}

}  // namespace cudasim
