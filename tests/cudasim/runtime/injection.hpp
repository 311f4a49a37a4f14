// SPDX-License-Identifier: Apache-2.0
//
// Planted faults: the n-th call of a named API function, or of any, answers an error and does
// nothing else. Guarded by the runtime's lock.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cudasim {

class injection {
 public:
  enum class effect : std::uint8_t { once, stays, loses_device };
  struct strike {
    int error = 0;  // 0: none
    bool loses_device = false;
  };

  /// The nth call from now on (1 is the next) answers `error`; every later one too if it stays. An
  /// empty name: calls of all functions together.
  void plant(std::string_view call, std::uint64_t nth, int error, effect);
  /// Plants from text: call:n:error, call:n+:error (stays) or call:n!:error (loses the device),
  /// separated by commas; the call * is any. False if unreadable.
  [[nodiscard]] bool plant(std::string_view text);
  void clear() { planted_.clear(); }
  /// Counts the call; answers what was planted for it.
  strike next(std::string_view call);
  /// The same, without the faults that are planted for any call.
  strike next_named(std::string_view call);

  /// How many faults have struck, and the call that the latest one struck.
  [[nodiscard]] std::uint64_t struck() const { return struck_; }
  [[nodiscard]] const std::string& latest() const { return latest_; }

 private:
  struct one {
    std::uint64_t left;  // calls until it strikes
    int error;
    effect how;
  };
  static strike count_down(std::vector<one>& faults);

  std::map<std::string, std::vector<one>, std::less<>> planted_;
  std::uint64_t struck_ = 0;
  std::string latest_;
};

}  // namespace cudasim
