// SPDX-License-Identifier: Apache-2.0
//
// handle_stock: what programs call streams by. A real driver gives the handle of an object that was
// destroyed to one of the next that are made, so a program must not tell objects apart by their
// handles. Here the handle that was given back last is the next one, which makes that most likely.
// The object behind a handle is found elsewhere. Guarded by the runtime's lock.
#pragma once

#include <memory>
#include <vector>

namespace cudasim {

class handle_stock {
 public:
  [[nodiscard]] void* take() {
    if (!spare_.empty()) {
      void* const again = spare_.back();
      spare_.pop_back();
      return again;
    }
    made_.push_back(std::make_unique<token>());
    return made_.back().get();
  }
  /// The handle names nothing from now on.
  void give_back(void* handle) { spare_.push_back(handle); }

 private:
  struct alignas(64) token {};  // an address of its own
  std::vector<std::unique_ptr<token>> made_;
  std::vector<void*> spare_;
};

}  // namespace cudasim
