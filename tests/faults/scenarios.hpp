// SPDX-License-Identifier: Apache-2.0
//
// Short programs that together enter every part of the library that asks the system or the heap for
// something.
#pragma once

#include "world.hpp"

#include <ostream>
#include <vector>

namespace tidepool::test {

struct scenario {
  const char* name;
  void (*run)(world& w);
};

inline std::ostream& operator<<(std::ostream& out, const scenario& what) {
  return out << what.name;
}

[[nodiscard]] const std::vector<scenario>& scenarios();

}  // namespace tidepool::test
