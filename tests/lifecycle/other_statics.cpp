// SPDX-License-Identifier: Apache-2.0
//
// The other file of statics.cpp's program.
#include "statics.hpp"

namespace tidepool::test {

namespace {
// Destroyed after the pools and after the thread's cache, and uses both then.
struct last_of_all {
  tensor held;
  ~last_of_all() { held.reset(); }
};
last_of_all& last() {
  static last_of_all only;
  return only;
}
const last_of_all& made_early = last();
}  // namespace

std::vector<tensor>& other_tensors() {
  static std::vector<tensor> all;
  return all;
}

pool& other_pool() {
  static pool only(cpu::make_backend({.arena_bytes = std::size_t{256} << 20}));
  if (!made_early.held) {
    last().held = only.allocate(123);
  }
  return only;
}

}  // namespace tidepool::test
