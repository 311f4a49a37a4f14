// SPDX-License-Identifier: Apache-2.0
//
// Planted faults: the n-th call of a named API function answers an error and does nothing else.
// Guarded by the runtime's lock.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cudasim {

class injection {
 public:
  /// The nth call from now on (1 is the next) answers `error`; every later one too if `stays`.
  void plant(std::string_view call, std::uint64_t nth, int error, bool stays);
  /// Plants from text: call:n:error or call:n+:error, separated by commas; false if unreadable.
  [[nodiscard]] bool plant(std::string_view text);
  void clear() { planted_.clear(); }
  /// Counts the call; answers its planted error, or 0.
  int next(std::string_view call);

 private:
  struct one {
    std::uint64_t left;  // calls until it strikes
    int error;
    bool stays;
  };
  std::map<std::string, std::vector<one>, std::less<>> planted_;
};

}  // namespace cudasim
