// SPDX-License-Identifier: Apache-2.0
//
// Operands: registers, literals, addresses, vectors and lists. One thread.
#include "machine/ptx_cursor.hpp"

#include <memory>
#include <utility>

namespace cudasim::ptx {

operand cursor::parse_operand() {
  operand made;
  if (accept("[")) {
    address(made);
  } else if (accept("{")) {
    made.form = operand::kind::vector;
    items_until("}", made);
  } else if (accept("(")) {
    made.form = operand::kind::list;
    items_until(")", made);
  } else if (is("-") || current().form == token::kind::number) {
    immediate(made);
  } else {
    made.negated = accept("!");
    made.name = resolve(identifier());
    if (made.name == "WARP_SZ") {
      made.form = operand::kind::immediate;
      made.bits = 32;
    }
    if (accept("+")) {  // a symbol's address and an offset
      made.bits = number();
    }
    if (accept("|")) {
      made.second = std::make_shared<operand>(parse_operand());
    }
  }
  return made;
}

}  // namespace cudasim::ptx
