// SPDX-License-Identifier: Apache-2.0
//
// What the checks found. Tests take the reports that they planted; what nobody takes is unexpected
// and makes the process fail at its end. Thread-safe.
#pragma once

#include "machine/types.hpp"

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

namespace cudasim {

class reports {
 public:
  static constexpr std::size_t kinds = static_cast<std::size_t>(finding::forked_child) + 1;

  /// Prints the report, unless quiet, and counts it.
  void add(finding, const std::string& text);
  /// Reports of a kind since they were last taken, which are expected from now on.
  std::uint64_t take(finding);
  [[nodiscard]] std::uint64_t untaken(finding) const;
  [[nodiscard]] std::uint64_t untaken() const;  // of all kinds
  /// Text of the latest report; empty before the first.
  [[nodiscard]] std::string latest() const;
  void set_quiet(bool quiet);

 private:
  static constexpr std::uint64_t printed_at_most = 1000;  // of a kind
  mutable std::mutex mutex_;
  std::array<std::uint64_t, kinds> untaken_{};  // guarded by mutex_
  std::array<std::uint64_t, kinds> total_{};    // guarded by mutex_
  std::string latest_;                          // guarded by mutex_
  bool quiet_ = false;                          // guarded by mutex_
};

[[nodiscard]] const char* name_of(finding);

}  // namespace cudasim
