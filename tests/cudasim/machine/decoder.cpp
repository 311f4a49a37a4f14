// SPDX-License-Identifier: Apache-2.0
//
// Statements to instructions: control flow, addresses, calls. What cannot be lowered becomes an
// instruction that faults when it is executed, so that unused code does no harm.
#include "machine/decoder.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>

namespace cudasim {
namespace {

using ptx::operand;
using ptx::statement;

constexpr int deepest_call = 32;

int address_argument(const statement& from) {
  for (std::size_t i = 0; i != from.arguments.size(); ++i) {
    if (from.arguments[i].form == operand::kind::address) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

// Which fields of ref an instruction writes.
unsigned defined_fields(const statement& from, const instruction& in) {
  const std::string& opcode = from.opcode[0];
  const auto first_items = [&] { return (1u << from.arguments[0].items.size()) - 1; };
  const bool is_vector = !from.arguments.empty() && from.arguments[0].form == operand::kind::vector;
  if (opcode == "st" || opcode == "red") {
    return 0;
  }
  if ((opcode == "ld" || opcode == "ldu") && is_vector) {
    return first_items();
  }
  if (opcode == "mov" && is_vector) {
    return first_items() << 1;
  }
  if (opcode == "setp" || opcode == "shfl" || opcode == "match") {
    return 3;
  }
  if ((opcode == "bar" || opcode == "barrier") && !from.has("red")) {
    return 0;
  }
  return in.ref[0] == no_place ? 0 : 1;
}

space space_of(const statement& from) {
  return from.has("shared") || from.has("shared::cta")                              ? space::shared
         : from.has("local")                                                        ? space::local
         : from.has("param") || from.has("param::entry") || from.has("param::func") ? space::param
                                                                                    : space::global;
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* const text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string title = text == nullptr ? name : text;
  std::free(text);
  return title;
}

}  // namespace

kernel decoder::run(const ptx::function& of) {
  kernel& made = draft_.made;
  made.name = of.name;
  made.title = demangled(of.name);
  if (of.max_threads != 0) {
    made.max_threads = of.max_threads;
  }
  frame outermost;
  outermost.of = &of;
  lay_out_parameters(of, outermost);
  emit_body(outermost);
  resolve_labels();
  instruction end;
  end.ctl = control::exit;
  made.code.push_back(end);
  draft_.defines.push_back(0);
  allocate_registers(draft_);
  made.local_bytes = static_cast<std::uint32_t>(align_up(made.local_bytes, 16));
  return std::move(made);
}

void decoder::lay_out_parameters(const ptx::function& of, frame& outermost) {
  kernel& made = draft_.made;
  for (const ptx::variable& parameter : of.parameters) {
    const auto offset = static_cast<std::uint32_t>(
        align_up(made.parameter_bytes, std::max<std::uint64_t>(1, parameter.alignment)));
    const auto size = static_cast<std::uint32_t>(parameter.bytes());
    made.parameters.push_back({offset, size});
    outermost.variables[parameter.name] = {space::param, offset};
    made.parameter_bytes = offset + size;
  }
}

void decoder::place_shared(const ptx::variable& placed) {
  kernel& made = draft_.made;
  const std::uint64_t at =
      align_up(made.shared_bytes, std::max<std::uint64_t>(1, placed.alignment));
  shared_[placed.name] = at;
  made.shared_bytes = static_cast<std::uint32_t>(at + placed.bytes());
}

void decoder::place_local(frame& in, const ptx::variable& placed) {
  kernel& made = draft_.made;
  const std::uint64_t at = align_up(made.local_bytes, std::max<std::uint64_t>(1, placed.alignment));
  in.variables[placed.name] = {space::local, at};
  made.local_bytes = static_cast<std::uint32_t>(at + placed.bytes());
}

// Static shared variables first; extern ones all start where those end.
void decoder::place_variables(frame& in, bool is_outermost) {
  if (is_outermost) {
    for (const ptx::variable& placed : program_.variables) {
      if (placed.space == "shared" && !placed.external) {
        place_shared(placed);
      }
    }
  }
  for (const ptx::variable& placed : in.of->variables) {
    if (placed.space != "shared") {
      place_local(in, placed);
    } else if (shared_.find(placed.name) == shared_.end()) {
      place_shared(placed);
    }
  }
  if (is_outermost) {
    kernel& made = draft_.made;
    for (const ptx::variable& placed : program_.variables) {
      if (placed.space == "shared" && placed.external) {
        made.shared_bytes = static_cast<std::uint32_t>(
            align_up(made.shared_bytes, std::max<std::uint64_t>(16, placed.alignment)));
        shared_[placed.name] = made.shared_bytes;
      }
    }
  }
}

void decoder::emit_body(frame& in) {
  frame* const outer = frame_;
  frame_ = &in;
  place_variables(in, outer == nullptr);
  for (const statement& from : in.of->body) {
    if (!from.label.empty()) {
      labels_[in.label_prefix + from.label] = static_cast<std::uint32_t>(draft_.made.code.size());
      continue;
    }
    try {
      emit_statement(from);
    } catch (const fault& why) {
      emit_unsupported(from, why.what());
    } catch (const std::out_of_range&) {
      emit_unsupported(from, "an operand is missing");
    }
  }
  if (!in.end.empty()) {
    labels_[in.end] = static_cast<std::uint32_t>(draft_.made.code.size());
  }
  frame_ = outer;
}

void decoder::emit(const statement& from, instruction in, unsigned defines) {
  in.line = from.line;
  if (!from.guard.empty()) {
    in.guard = register_named(from.guard);
    in.guard_negated = from.guard_negated;
  }
  draft_.made.code.push_back(in);
  draft_.defines.push_back(static_cast<std::uint8_t>(defines));
}

void decoder::emit_unsupported(const statement& from, const std::string& why) {
  std::string text = "unsupported instruction ";
  for (std::size_t i = 0; i != from.opcode.size(); ++i) {
    text += (i == 0 ? "" : ".") + from.opcode[i];
  }
  instruction in;
  in.ctl = control::unsupported;
  in.target = static_cast<std::uint32_t>(draft_.made.unsupported.size());
  draft_.made.unsupported.push_back(why.empty() ? text : text + " (" + why + ")");
  emit(from, in, 0);
}

void decoder::emit_statement(const statement& from) {
  if (emit_flow(from)) {
    return;
  }
  instruction in;
  resolve_address(from, in);
  if (!lower(from, *this, in)) {
    emit_unsupported(from, "");
    return;
  }
  emit(from, in, defined_fields(from, in));
}

bool decoder::emit_flow(const statement& from) {
  const std::string& opcode = from.opcode[0];
  instruction in;
  if (opcode == "bra") {
    in.ctl = control::branch;
    branches_.emplace_back(draft_.made.code.size(),
                           frame_->label_prefix + from.arguments.at(0).name);
  } else if (opcode == "brx") {
    in.ctl = control::branch_indexed;
    in.ref[0] = source(from.arguments.at(0), 4);
    std::vector<std::string> targets = frame_->of->branch_targets.at(from.arguments.at(1).name);
    for (std::string& target : targets) {
      target.insert(0, frame_->label_prefix);
    }
    indexed_branches_.emplace_back(draft_.made.code.size(), std::move(targets));
  } else if (opcode == "exit" || (opcode == "ret" && frame_->end.empty())) {
    in.ctl = control::exit;
  } else if (opcode == "ret") {
    in.ctl = control::branch;
    branches_.emplace_back(draft_.made.code.size(), frame_->end);
  } else if (opcode == "call") {
    emit_call(from);
    return true;
  } else {
    return false;
  }
  emit(from, in, 0);
  return true;
}

void decoder::resolve_address(const statement& from, instruction& in) {
  const int argument = address_argument(from);
  if (argument < 0) {
    return;
  }
  const operand& address = from.arguments[static_cast<std::size_t>(argument)];
  in.where = space_of(from);
  in.immediate = static_cast<std::int64_t>(address.bits);
  if (address.name.empty()) {
    in.ref[7] = constant(0, 8);
    return;
  }
  if (const auto found = frame_->of->registers.find(address.name);
      found != frame_->of->registers.end()) {
    in.ref[7] = register_named(address.name);
    in.narrow_address = register_bytes(found->second) == 4;
    return;
  }
  const std::optional<location> found = variable_named(address.name);
  if (!found) {
    invalid("unknown variable " + address.name);
  }
  if (in.where == space::param) {
    in.where = found->where;  // the parameters of an inlined call are local memory
  }
  if (in.where == space::param && from.arguments[0].form != operand::kind::vector) {
    in.target = 1;  // at a fixed offset
    in.immediate += static_cast<std::int64_t>(found->offset);
  } else {
    in.ref[7] = constant(found->offset, 8);
  }
}

// call (result), f, (arguments);   call f, (arguments);   call f;
void decoder::emit_call(const statement& from) {
  std::size_t next = 0;
  const std::vector<operand> nothing;
  const std::vector<operand>* results = &nothing;
  const std::vector<operand>* arguments = &nothing;
  if (from.arguments.at(0).form == operand::kind::list) {
    results = &from.arguments[next++].items;
  }
  const std::string& name = from.arguments.at(next++).name;
  if (next < from.arguments.size() && from.arguments[next].form == operand::kind::list) {
    arguments = &from.arguments[next].items;
  }
  const auto offset_of = [&](const std::vector<operand>& list, std::size_t i) {
    const std::optional<location> found = variable_named(list.at(i).name);
    if (!found || found->where != space::local) {
      invalid("an argument of a call that is not in local memory");
    }
    return found->offset;
  };
  if (name == "vprintf") {
    instruction in;
    in.run = device_print;
    in.immediate = static_cast<std::int64_t>(offset_of(*arguments, 0));
    in.target = static_cast<std::uint32_t>(offset_of(*arguments, 1));
    emit(from, in, 0);
    return;
  }
  if (name == "__assertfail") {
    instruction in;
    in.ctl = control::trap;
    emit(from, in, 0);
    return;
  }
  const auto found = program_.functions.find(name);
  if (found == program_.functions.end() || !found->second.is_defined) {
    invalid("call of " + name + ", which has no body");
  }
  if (frame_->depth == deepest_call) {
    invalid("recursion in " + name);
  }
  if (!from.guard.empty()) {
    invalid("a predicated call");
  }
  frame inner;
  inner.of = &found->second;
  inner.depth = frame_->depth + 1;
  inner.label_prefix = std::to_string(++calls_) + ":";
  inner.end = inner.label_prefix + "end";
  for (std::size_t i = 0; i != inner.of->parameters.size(); ++i) {
    inner.variables[inner.of->parameters[i].name] = {space::local, offset_of(*arguments, i)};
  }
  for (std::size_t i = 0; i != inner.of->results.size(); ++i) {
    inner.variables[inner.of->results[i].name] = {space::local, offset_of(*results, i)};
  }
  emit_body(inner);
}

void decoder::resolve_labels() {
  kernel& made = draft_.made;
  const auto target_of = [&](const std::string& label) {
    const auto found = labels_.find(label);
    if (found == labels_.end()) {
      invalid("undefined label " + label);
    }
    return found->second;
  };
  for (const auto& [index, label] : branches_) {
    made.code[index].target = target_of(label);
  }
  for (const auto& [index, labels] : indexed_branches_) {
    made.code[index].target = static_cast<std::uint32_t>(made.branch_tables.size());
    std::vector<std::uint32_t>& table = made.branch_tables.emplace_back();
    std::transform(labels.begin(), labels.end(), std::back_inserter(table), target_of);
  }
}

kernel decode(const ptx::program& program, const ptx::function& of, const symbol_table& symbols) {
  return decoder(program, symbols).run(of);
}

}  // namespace cudasim
