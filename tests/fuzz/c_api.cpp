// SPDX-License-Identifier: Apache-2.0
//
// Fuzz target: any bytes are a program in C against tidepool.h, right and wrong calls mixed: forged
// ids, structs of other sizes, null arguments, addresses beside the right ones. Whatever is called:
// an answer, no crash, nothing lost.
#include "c_api_calls.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tidepool::test;
  input in({data, size});
  c_program program(in);
  for (int steps = 1; !in.is_empty() && steps < 600; ++steps) {
    program.step();
    if (steps % 16 == 0) {
      program.check();
    }
  }
  program.finish();
  return 0;
}
