// SPDX-License-Identifier: Apache-2.0
//
// Flattens a PTX function into a kernel: lays out parameters, shared and local variables, inlines
// calls, resolves labels. Registers stay virtual: allocate_registers gives them places. One thread.
#pragma once

#include "machine/lowering.hpp"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cudasim {

/// Ends the decoding of what is no PTX, or none that is known here.
[[noreturn]] inline void invalid(const std::string& what) {
  throw fault(fault_code::invalid_ptx, finding::unsupported, what);
}

// A kernel under construction. Its places of table 0 are numbers of virtual registers (shifted by
// one), not offsets yet.
struct draft {
  kernel made;
  std::vector<std::uint8_t> defines;  // by instruction: the fields of ref that it writes
  std::vector<int> lane_bytes;        // by virtual register; 0 for predicates
  std::map<special, place> specials;
};

/// Gives each virtual register a place: linear scan over live intervals, so that thousands of
/// registers share the few hundred places that fit a cache. Safe under divergence, as each lane
/// has its own column of a place and all writes are masked.
void allocate_registers(draft&);

class decoder final : public operand_source {
 public:
  decoder(const ptx::program& program, const symbol_table& symbols)
      : program_(program), symbols_(symbols) {}

  kernel run(const ptx::function&);

  int width(const ptx::operand&) override;
  place source(const ptx::operand&, int bytes) override;
  place destination(const ptx::operand&) override;

 private:
  struct location {
    space where;
    std::uint64_t offset;
  };
  // A function's body being emitted: the kernel's own, or an inlined call's.
  struct frame {
    const ptx::function* of = nullptr;
    std::map<std::string, place, std::less<>> registers;
    std::map<std::string, location, std::less<>> variables;
    std::string label_prefix;
    std::string end;  // label that `ret` goes to; empty in the kernel itself
    int depth = 0;
  };

  place constant(std::uint64_t bits, int bytes);
  place new_register(int bytes);
  place register_named(const std::string&);
  place special_register(special);
  [[nodiscard]] bool is_register(const ptx::operand&) const;
  [[nodiscard]] std::optional<location> variable_named(const std::string&) const;

  void lay_out_parameters(const ptx::function&, frame&);
  void place_shared(const ptx::variable&);
  void place_local(frame&, const ptx::variable&);
  void place_variables(frame&, bool is_outermost);
  void emit_body(frame&);
  void emit(const ptx::statement&, instruction, unsigned defines);
  void emit_unsupported(const ptx::statement&, const std::string& why);
  void emit_statement(const ptx::statement&);
  bool emit_flow(const ptx::statement&);
  void emit_call(const ptx::statement&);
  void resolve_address(const ptx::statement&, instruction&);
  void resolve_labels();

  const ptx::program& program_;
  const symbol_table& symbols_;
  draft draft_;
  frame* frame_ = nullptr;
  int calls_ = 0;
  std::map<std::pair<std::uint64_t, int>, place> constants_;
  std::map<std::string, std::uint32_t, std::less<>> labels_;
  std::vector<std::pair<std::size_t, std::string>> branches_;
  std::vector<std::pair<std::size_t, std::vector<std::string>>> indexed_branches_;
  std::map<std::string, std::uint64_t, std::less<>> shared_;
};

}  // namespace cudasim
